"""The failures of the launcher: sentences that tell the operator what to do."""


class TownError(Exception):
    """The town cannot start or go on; the text says why and what helps."""


class ConfigurationError(TownError):
    """Settings are missing or wrong; the text names each."""
