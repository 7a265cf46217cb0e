"""What every test starts from: logging as the library has it, whatever a test before has configured."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """A test that runs a whole process in ours configures its logs; the next must not inherit them."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
