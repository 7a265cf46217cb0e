"""Fixtures of the storage tests: real databases, a real folder, a real web server to fetch from."""

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.database import Database, open_database
from services.chassis.idempotency import IdempotencyKeys
from services.chassis.migrations import migrate
from services.chassis.notifier import Notifier
from services.chassis.public_files import PublicFiles
from services.chassis.server import Mount
from services.chassis.signing_keys import PurposeKeys
from services.storage.backends import open_backend
from services.storage.core import Objects, Uploads, Variants
from services.storage.core.inspection import Inspection
from services.storage.core.objects import SizeLimits
from services.storage.core.thumbnails import Thumbnails
from services.storage.core.uploads import UploadTokens
from services.storage.core.variants import VariantPresets
from services.storage.fetcher import HttpFetcher, open_fetcher, open_fetchers
from services.storage.ports import Backend
from services.storage.servicer import StorageServicer
from services.storage.settings import BACKENDS, StorageSettings
from services.storage.stores.sql import REQUEST_ANSWER, SqlObjects
from tests.storage.buckets import in_mode
from tests.storage.public_listener import browsing
from tests.storage.samples import InlineDecoder, Remote, open_remote
from tests.support.awaited import Awaited, awaited
from tests.support.servers import serving

BUDGET_BYTES = 10_000_000  # of all variants of a picture
BASE = "https://site.example/files"


def clock() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    async with open_remote() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, remote: Remote) -> StorageSettings:
    """A stack of its own that may fetch from the test's web server, with small limits and short patience."""
    return StorageSettings(
        data_dir=tmp_path,
        app_url="https://site.example",
        outbound_allow_private=frozenset({remote.authority}),
        max_upload_bytes=100_000,
        max_result_bytes=300_000,
        fetch_connect_seconds=2,
        fetch_read_seconds=1.0,
        fetch_total_seconds=2,
        _env_file=None,
    )


@pytest.fixture(scope="session")
def migrated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty database at the newest revision, to copy from."""
    folder = tmp_path_factory.mktemp("migrated")
    migrate("storage", StorageSettings(data_dir=folder, _env_file=None))
    return folder


@pytest.fixture
def migrated(settings: StorageSettings, migrated_folder: Path) -> StorageSettings:
    shutil.copytree(migrated_folder, settings.data_dir, dirs_exist_ok=True)
    return settings


@pytest.fixture
def notifier() -> Notifier:
    return Notifier()


@pytest.fixture
async def database(migrated: StorageSettings, notifier: Notifier) -> AsyncIterator[Database]:
    async with open_database(migrated, "storage", notifier) as database:
        yield database


@pytest.fixture
def store(database: Database) -> Any:
    """The store, each of its functions in a transaction of its own."""
    return awaited(database, SqlObjects())


@pytest.fixture(params=sorted(BACKENDS))
def backend_settings(request: pytest.FixtureRequest, settings: StorageSettings) -> StorageSettings:
    """The settings of each backend, with uploads through our own listener."""
    return in_mode(request.param, settings, request, storage_s3_direct_uploads=False)


@pytest.fixture
async def backend(backend_settings: StorageSettings) -> AsyncIterator[Backend]:
    async with open_backend(backend_settings.storage_mode, backend_settings) as backend:
        yield backend


@pytest.fixture
async def fetcher(settings: StorageSettings) -> AsyncIterator[HttpFetcher]:
    async with open_fetcher(settings, settings.fetch_connections) as fetcher:
        yield fetcher


@pytest.fixture
def decoder() -> InlineDecoder:
    return InlineDecoder()


@pytest.fixture
def inspection(backend: Backend, decoder: InlineDecoder) -> Inspection:
    return Inspection(backend, decoder)


@pytest.fixture
def presets() -> VariantPresets:
    return VariantPresets(PurposeKeys(b"another secret of thirty-two ..."))


@pytest.fixture
def variants(
    backend: Backend, store: Awaited, decoder: InlineDecoder, presets: VariantPresets, settings: StorageSettings
) -> Variants:
    bounds = {"max_bytes": settings.max_result_bytes, "budget_bytes": BUDGET_BYTES}
    return Variants(backend, store.database, store.functions, decoder, presets, **bounds, clock=clock)


@pytest.fixture
def thumbnails(variants: Variants, store: Awaited, notifier: Notifier) -> Thumbnails:
    return Thumbnails(variants, store.database, store.functions, clock, notifier)


@pytest.fixture
async def objects(
    backend: Backend, store: Awaited, inspection: Inspection, settings: StorageSettings
) -> AsyncIterator[Objects]:
    limits = SizeLimits(settings.max_upload_bytes, settings.max_result_bytes)
    own_key = PublicFiles(BASE).key
    async with open_fetchers(settings) as fetchers:
        yield Objects(
            backend,
            store.database,
            store.functions,
            fetchers,
            inspection,
            limits=limits,
            own_key=own_key,
            clock=clock,
        )


@pytest.fixture
def uploads(backend: Backend, store: Awaited, inspection: Inspection, settings: StorageSettings) -> Uploads:
    tokens = UploadTokens(PurposeKeys(b"a secret of thirty-two bytes ..."))
    most, lifetime = settings.max_upload_bytes, settings.upload_link_seconds
    return Uploads(
        backend,
        store.database,
        store.functions,
        tokens,
        inspection,
        max_bytes=most,
        lifetime_seconds=lifetime,
        clock=clock,
    )


@asynccontextmanager
async def served(servicer: StorageServicer) -> AsyncIterator["storagerpc.StorageServiceAsyncStub"]:
    mount = Mount(storagerpc.add_StorageServiceServicer_to_server, servicer, storagepb.DESCRIPTOR)
    async with serving(mount) as address, aio.insecure_channel(address) as channel:
        yield storagerpc.StorageServiceStub(channel)


@pytest.fixture
async def stub(
    objects: Objects, uploads: Uploads, variants: Variants, database: Database
) -> AsyncIterator["storagerpc.StorageServiceAsyncStub"]:
    """A client on a real channel to the servicer behind the real interceptors."""
    files = PublicFiles(BASE)
    links, replays = f"{BASE}/-/uploads", IdempotencyKeys(database, REQUEST_ANSWER)
    async with served(StorageServicer(objects, uploads, variants, files, links, replays=replays)) as stub:
        yield stub


@pytest.fixture
async def browser(backend: Backend, uploads: Uploads) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(backend, uploads) as client:
        yield client
