"""What every test may use: the engines, each started once; and logging as the library has it.

An engine that is not installed here skips the tests that need it, with the reason.
"""

from collections.abc import Iterator

import pytest
import structlog

from tests.support.engines import skip_if_missing
from tests.support.postgres import Postgres, postgres
from tests.support.s3 import S3Server, s3
from tests.support.valkey import Valkey, valkey_server


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """A test that runs a whole process in ours configures its logs; the next must not inherit them."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server, in which each test makes its own databases; none may stop it."""
    with skip_if_missing(), postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server for S3, in which each test makes its own buckets; none may stop it."""
    with skip_if_missing(), s3() as server:
        yield server


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Valkey of the test's own, which it may flush, pause, kill and start again."""
    with skip_if_missing(), valkey_server() as server:
        yield server
