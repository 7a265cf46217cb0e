"""The gateway in front of the real community service on SQLite; generation and storage are fakes."""

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from gateway.app import ASGIApp, make_app
from gateway.clients.stubs import over
from gateway.settings import GatewaySettings
from services.chassis.channels import plain_channel
from services.chassis.database import open_database
from services.chassis.migrations import migrate
from services.chassis.server import Mount
from services.chassis.signing_keys import PurposeKeys
from services.community.composition import CommunityService
from services.community.model import OrderState
from services.community.settings import CommunitySettings
from services.community.stores import make_stores
from services.community.stores.read_models import RedisModels
from tests.community.fakes import FakeGenerations, FakeObjects
from tests.community.stubs import Clock
from tests.gateway.doubles.storage.servicer import StorageService
from tests.support.servers import serving

ORIGIN = "https://site.example"
SECRET = "a-secret-that-signs-tokens-in-tests"
ANN, BOB = "user_ann", "user_bob"
PROMPT = "a lantern festival by the river"


@dataclass(frozen=True)
class Caller:
    """One person's calls of the gateway; a stranger's where the id is empty."""

    http: httpx.AsyncClient
    id: str = ""

    async def ok(self, method: str, path: str, **more: Any) -> Any:
        """The data of a call that must succeed."""
        answer = await self.http.request(method, path, **more)
        body = answer.json()
        assert (answer.status_code, body["success"]) == (httpx.codes.OK, True), body
        return body["data"]

    async def error(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and code of a call that must fail, whose body has every field of both front-end families."""
        answer = await self.http.request(method, path, **more)
        body = answer.json()
        assert body["success"] is False
        assert body["error"] == body["message"] != ""
        return answer.status_code, body["code"]

    async def ordered(self, **fields: Any) -> dict[str, Any]:
        """The answer to an order."""
        return dict(await self.ok("POST", "/api/artworks/generate", json={"prompt": PROMPT} | fields))

    async def saved(self, title: str = "Lantern", action: str = "publish") -> str:
        """The id of an artwork that was made from a picture elsewhere and published, or kept as a draft."""
        body = {"title": title, "imageUrl": f"https://elsewhere.example/{self.id}/{title}.png"}
        return str((await self.ok("POST", f"/api/artworks/{action}", json=body))["id"])


@dataclass(frozen=True)
class Site:
    """The gateway, the community behind it, and the fakes of the services that both call."""

    app: ASGIApp
    community: CommunityService
    generations: FakeGenerations
    objects: FakeObjects
    storage: StorageService
    clock: Clock

    @asynccontextmanager
    async def caller(self, subject: str = "", **claims: Any) -> AsyncIterator[Caller]:
        """A caller with a token of this subject and these claims; a stranger without a subject."""
        given = {"sub": subject, "exp": int(time.time()) + 600} | claims
        headers = {"Authorization": f"Bearer {jwt.encode(given, SECRET, algorithm='HS256')}"} if subject else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as http:
            yield Caller(http, subject)

    async def end(self, generation_id: str, state: OrderState = OrderState.SUCCEEDED, reason: str = "") -> None:
        """End a generation, and let the community hear of it."""
        await self.community.event_consumer.consume(self.generations.end(generation_id, state, reason))

    async def draft(self, owner: Caller, **fields: Any) -> str:
        """The id of a draft whose picture was ordered and made."""
        order = await owner.ordered(**fields)
        await self.end(order["taskId"])
        return str(order["artworkId"])


OpenSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file of the community, to copy."""
    folder = tmp_path_factory.mktemp("community")
    migrate("community", CommunitySettings(database_url="", data_dir=folder))
    return folder / "community.sqlite3"


@pytest.fixture
def open_site(migrated_file: Path, tmp_path: Path) -> OpenSite:
    """Opens a site with these settings of the community, and of the gateway."""

    @asynccontextmanager
    async def opened(*, gateway: dict[str, Any] | None = None, **given: Any) -> AsyncIterator[Site]:
        shutil.copy(migrated_file, tmp_path)
        settings = CommunitySettings(database_url="", data_dir=tmp_path, app_url=ORIGIN, **given)
        generations, objects, clock = FakeGenerations(), FakeObjects(), Clock()
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(open_database(settings, "community"))
            models = RedisModels(None, time.monotonic)
            stores = make_stores(database, models, clock, settings.credits_initial, PurposeKeys(b"erasure key"))
            community = CommunityService(settings, stores, generations, objects, clock)
            storage = StorageService()
            mount = Mount(storagerpc.add_StorageServiceServicer_to_server, storage, storagepb.DESCRIPTOR)
            address = await stack.enter_async_context(serving(*community.mounts(), mount))
            channel = await stack.enter_async_context(plain_channel(address))
            identity = {"auth_hs256_secret": SECRET, "rate_limits_enabled": False}
            gateway_settings = GatewaySettings(app_url=ORIGIN, **identity | (gateway or {}))
            app = make_app(gateway_settings, over(channel, channel, channel, channel))
            yield Site(app, community, generations, objects, storage, clock)

    return opened


@pytest.fixture
async def site(open_site: OpenSite) -> AsyncIterator[Site]:
    """A site as it comes: without credits."""
    async with open_site() as opened:
        yield opened


@pytest.fixture
async def ann(site: Site) -> AsyncIterator[Caller]:
    """A person with artworks."""
    async with site.caller(ANN, name="Ann", picture="https://cdn.example/ann.png") as caller:
        yield caller


@pytest.fixture
async def bob(site: Site) -> AsyncIterator[Caller]:
    """Another person."""
    async with site.caller(BOB, name="Bob") as caller:
        yield caller


@pytest.fixture
async def stranger(site: Site) -> AsyncIterator[Caller]:
    """A caller without a token."""
    async with site.caller() as caller:
        yield caller
