"""What the engines of the tests have in common: an engine that is not installed here is no failure."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class EngineFailedError(Exception):
    """The engine is installed, and does not start."""


class EngineMissingError(Exception):
    """The engine is not installed here; the message is the reason to show when a test is skipped."""


@contextmanager
def skip_if_missing() -> Iterator[None]:
    """Skip the test when an engine that is started inside is not installed."""
    try:
        yield
    except EngineMissingError as missing:
        pytest.skip(str(missing))
