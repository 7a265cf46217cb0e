"""The failures of the launcher: sentences that tell the operator what to do."""


class LaunchError(Exception):
    """The stack cannot start or go on; the text says why and what helps."""


class ConfigurationError(LaunchError):
    """Settings are missing or wrong; the text names each."""
