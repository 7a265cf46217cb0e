"""Fixtures of the community's tests: real databases, Valkey and channels, and fakes of generation and storage."""

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from grpc import aio
from sqlalchemy import URL, make_url

from services.chassis.database import Database, open_database
from services.chassis.errors import KawaiiError
from services.chassis.migrations import migrate
from services.chassis.signing_keys import PurposeKeys
from services.chassis.status import from_rpc
from services.community.composition import CommunityService
from services.community.settings import CommunitySettings
from services.community.stores import Stores, make_stores
from services.community.stores.read_models import RedisModels, open_models
from tests.community.fakes import FakeGenerations, FakeObjects
from tests.community.stubs import Client, Clock, Refused
from tests.support.postgres import Postgres
from tests.support.servers import serving
from tests.support.valkey import Valkey

INITIAL_CREDITS = 7
numbers = count()


@pytest.fixture
async def models(valkey: Valkey) -> AsyncIterator[RedisModels]:
    """Read models on that server, which are tried again at once after a failure."""
    async with open_models(valkey.url, count(step=10).__next__) as opened:
        yield opened


@pytest.fixture(scope="session")
def migrated(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> URL:
    """A migrated PostgreSQL database to copy."""
    url = postgres_server.create_database()
    migrate("community", CommunitySettings(database_url=url, data_dir=tmp_path_factory.mktemp("migrated")))
    return make_url(url)


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    folder = tmp_path_factory.mktemp("template")
    migrate("community", CommunitySettings(database_url="", data_dir=folder))
    return folder / "community.sqlite3"


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> CommunitySettings:
    """Settings that name an empty, migrated database of their own."""
    given = {"data_dir": tmp_path, "app_url": "https://site.example", "credits_enabled": True}
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite"), tmp_path)
        return CommunitySettings(database_url="", **given)
    server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("migrated")
    name = f"community{next(numbers)}"
    host = ("-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres")
    subprocess.run([server.binaries / "createdb", *host, "-T", template.database, name], check=True)
    return CommunitySettings(database_url=template.set(database=name).render_as_string(), **given)


@pytest.fixture
async def database(settings: CommunitySettings) -> AsyncIterator[Database]:
    async with open_database(settings, "community") as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(database: Database, clock: Clock) -> Stores:
    """The stores without read models; an account begins with seven credits."""
    return make_stores(database, RedisModels(None, time.monotonic), clock, INITIAL_CREDITS, PurposeKeys(b"erasure key"))


@pytest.fixture
def fake_generations() -> FakeGenerations:
    return FakeGenerations()


@pytest.fixture
def fake_objects() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def community(
    settings: CommunitySettings,
    stores: Stores,
    fake_generations: FakeGenerations,
    fake_objects: FakeObjects,
    clock: Clock,
) -> CommunityService:
    """The whole service on fake clients, with no loop running."""
    return CommunityService(settings, stores, fake_generations, fake_objects, clock)


@pytest.fixture
async def client(community: CommunityService) -> AsyncIterator[Client]:
    """A client of the service through the chassis' server."""
    mounts = community.mounts()
    async with serving(*mounts) as address, aio.insecure_channel(address) as channel:
        yield Client(channel)


@pytest.fixture
def refused() -> Refused:
    """Expects a call to end with this error, reason and field."""

    @contextmanager
    def check(kind: type[KawaiiError], reason: str, field: str = "") -> Iterator[None]:
        with pytest.raises(aio.AioRpcError) as caught:
            yield
        error = from_rpc(caught.value)
        assert (type(error), error.reason, error.metadata.get("field", "")) == (kind, reason, field)

    return check
