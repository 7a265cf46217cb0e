"""What the chassis tests run on: both databases, migrated as a service's would be."""

from pathlib import Path

import pytest

from services.chassis.migrations import migrate
from services.chassis.settings import CommonSettings
from tests.support.postgres import Postgres

SERVICE = "generation"  # any service will do: the chassis knows none


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> CommonSettings:
    """Settings that name an empty database."""
    server: Postgres | None = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    return CommonSettings(data_dir=tmp_path, database_url=server.create_database() if server else "", _env_file=None)


@pytest.fixture
def migrated(empty: CommonSettings) -> CommonSettings:
    migrate(SERVICE, empty)
    return empty


@pytest.fixture
def sqlite(tmp_path: Path) -> CommonSettings:
    settings = CommonSettings(data_dir=tmp_path, database_url="", _env_file=None)
    migrate(SERVICE, settings)
    return settings
