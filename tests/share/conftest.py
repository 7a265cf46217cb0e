"""Fixtures of the share tests: real databases, a real Valkey, and a real channel to the service."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from sqlalchemy import URL, make_url

from services.chassis.cache import Cache, LocalCache, open_cache
from services.chassis.clock import Clock, now_ms
from services.chassis.database import Database, open_database
from services.chassis.errors import KawaiiError
from services.chassis.idempotency import IdempotencyKeys
from services.chassis.migrations import migrate
from services.chassis.public_files import PublicFiles
from services.chassis.server import Mount
from services.chassis.status import from_rpc
from services.share.core.cached import CachedShares, CacheLifetimes
from services.share.core.shares import Shares
from services.share.model import Policy, Seo, Share
from services.share.servicer import ShareServicer
from services.share.settings import ShareSettings
from services.share.stores.shares import SqlShares
from services.share.stores.tables import request_answer
from tests.support.awaited import awaited
from tests.support.postgres import Postgres
from tests.support.servers import serving
from tests.support.valkey import Valkey

FILES = PublicFiles("https://files.example/files")
START_MS = 1_700_000_000_000
Serve = Callable[..., AbstractAsyncContextManager["sharerpc.ShareServiceAsyncStub"]]
Refused = Callable[..., AbstractContextManager[None]]
numbers = count()


@pytest.fixture(scope="session")
def migrated(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> URL:
    """A migrated PostgreSQL database to copy."""
    url = postgres_server.create_database()
    migrate("share", ShareSettings(database_url=url, data_dir=tmp_path_factory.mktemp("migrated")))
    return make_url(url)


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    folder = tmp_path_factory.mktemp("template")
    migrate("share", ShareSettings(database_url="", data_dir=folder))
    return folder / "share.sqlite3"


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> ShareSettings:
    """Settings that name an empty, migrated database of their own."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite"), tmp_path)
        return ShareSettings(database_url="", data_dir=tmp_path)
    server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("migrated")
    name = f"share{next(numbers)}"
    host = ("-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres")
    subprocess.run([server.binaries / "createdb", *host, "-T", template.database, name], check=True)
    return ShareSettings(database_url=template.set(database=name).render_as_string(), data_dir=tmp_path)


@pytest.fixture
async def database(settings: ShareSettings) -> AsyncIterator[Database]:
    async with open_database(settings, "share") as opened:
        yield opened


@pytest.fixture(params=["sql", "cached"])
def store(request: pytest.FixtureRequest, database: Database) -> CachedShares:
    """The store in SQL on every engine, and the cache in front of it."""
    return cached(database) if request.param == "cached" else in_sql(database)


def in_sql(database: Database) -> Any:
    """The store in SQL, each of its functions in a transaction of its own."""
    return awaited(database, SqlShares())


def cached(database: Database, cache: Cache | None = None) -> CachedShares:
    """The cached store, as the service uses it."""
    lifetimes = CacheLifetimes(record=600, list=600, latest=600, stats=600)
    return CachedShares(
        database, SqlShares(), cache or LocalCache(), lifetimes, clock=now_ms, announce=announce_nothing
    )


async def announce_nothing(_notice: str) -> None:
    """Announce a change to no other process."""


@pytest.fixture
def clock() -> Clock:
    """A clock that moves by a second whenever it is read."""
    return count(START_MS, 1000).__next__


@pytest.fixture
def make(clock: Clock) -> Callable[..., Share]:
    """Makes a share that differs from the ones before."""

    def made(**changes: Any) -> Share:
        number = next(numbers)
        seo = Seo("AI", "題", "title", "説明", "description", ("猫",), ("cat",))
        draft = Share(
            id=f"share_{number}",
            generated_ref=f"generated/{number}.png",
            original_ref="",
            prompt="a cat",
            style="default",
            model="gpt4o-image",
            generate_ms=clock(),
            stored=True,
            seo_tags=("cat", "猫"),
            seo=seo,
            create_ms=clock(),
        )
        return replace(draft, **changes)

    return made


@pytest.fixture
def serve(database: Database, clock: Clock) -> Serve:
    """Serves shares by a policy, through the chassis' server, and gives a client of it."""

    @asynccontextmanager
    async def served(
        policy: Policy = Policy.TEXT_TO_IMAGE, files: PublicFiles = FILES, cache: Cache | None = None
    ) -> AsyncIterator["sharerpc.ShareServiceAsyncStub"]:
        servicer = ShareServicer(
            Shares(cached(database, cache), policy, own_key=files.key, clock=clock),
            files,
            IdempotencyKeys(database, request_answer),
        )
        mount = Mount(sharerpc.add_ShareServiceServicer_to_server, servicer, sharepb.DESCRIPTOR)
        async with serving(mount) as address, aio.insecure_channel(address) as channel:
            yield sharerpc.ShareServiceStub(channel)

    return served


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator["sharerpc.ShareServiceAsyncStub"]:
    """A client of the service with its default settings."""
    async with serve() as stub:
        yield stub


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


@pytest.fixture
async def cache(valkey: Valkey) -> AsyncIterator[Cache]:
    """The chassis' cache on that server."""
    async with open_cache(valkey.url) as opened:
        yield opened
