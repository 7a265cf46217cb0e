"""The whole gateway over three services that answer on real sockets, and a client that calls it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from google.protobuf.descriptor import FileDescriptor
from grpc import aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1 import admin_pb2_grpc as shareadminrpc
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from gateway.app import make_app
from gateway.clients import stubs
from gateway.clients.stubs import Clients, over
from gateway.settings import GatewaySettings
from services.chassis.channels import plain_channel
from services.chassis.health import Health
from services.chassis.server import Mount, build
from tests.gateway.doubles.admin.servicer import AdminService
from tests.gateway.doubles.generation.servicer import GenerationService
from tests.gateway.doubles.share.servicer import ShareAdminService, ShareService
from tests.gateway.doubles.storage.servicer import StorageService
from tests.gateway.shapes import ORIGIN

MOUNTS: dict[str, tuple[Callable[[Any, aio.Server], None], FileDescriptor]] = {
    "generation": (generationrpc.add_GenerationServiceServicer_to_server, generationpb.DESCRIPTOR),
    "storage": (storagerpc.add_StorageServiceServicer_to_server, storagepb.DESCRIPTOR),
    "share": (sharerpc.add_ShareServiceServicer_to_server, sharepb.DESCRIPTOR),
}
Connect = Callable[..., httpx.AsyncClient]


@dataclass(frozen=True)
class Doubles:
    """The services behind the gateway, their rows and their servers."""

    generation: GenerationService
    storage: StorageService
    share: ShareService
    admin: AdminService
    servers: dict[str, aio.Server]
    clients: Clients
    bucket: "Bucket"

    async def stop(self, service: str) -> None:
        """Stop one service."""
        await self.servers[service].stop(None)


class Bucket:
    """The place of the bytes, as the services' health sees it."""

    def __init__(self) -> None:
        self.away = False
        self.healths: list[Health] = []

    async def ping(self) -> None:
        """Fail while it is away."""
        if self.away:
            raise ConnectionError

    async def take_away(self) -> None:
        """Let everybody know that it is away."""
        self.away = True
        for health in self.healths:
            await health.check()


def mounts(name: str, services: dict[str, Any]) -> list[Mount]:
    """What a service of this name serves; nothing for one without a double."""
    if name not in services:
        return []
    register, descriptor = MOUNTS[name]
    return [Mount(register, services[name], descriptor)]


@pytest.fixture
async def doubles() -> AsyncIterator[Doubles]:
    services: dict[str, Any] = {"generation": GenerationService(), "storage": StorageService(), "share": ShareService()}
    admin = AdminService()
    records = ShareAdminService(services["share"])
    beside = {
        "generation": Mount(
            generationadminrpc.add_GenerationAdminServiceServicer_to_server, admin, generationadminpb.DESCRIPTOR
        ),
        "share": Mount(shareadminrpc.add_ShareAdminServiceServicer_to_server, records, shareadminpb.DESCRIPTOR),
    }
    servers: dict[str, aio.Server] = {}
    bucket = Bucket()
    async with AsyncExitStack() as stack:
        channels = []
        for name in (*services, "community"):  # whose routes are tested in tests/e2e: here it is only healthy
            health = Health([], [], {stubs.BYTES: bucket.ping})
            bucket.healths.append(health)
            servers[name] = build([*mounts(name, services), *([beside[name]] if name in beside else [])], health)
            port = servers[name].add_insecure_port("127.0.0.1:0")
            await servers[name].start()
            await health.check()
            stack.push_async_callback(servers[name].stop, None)
            channels.append(await stack.enter_async_context(plain_channel(f"127.0.0.1:{port}")))
        doubles = {"admin": admin, "servers": servers, "clients": over(*channels), "bucket": bucket}
        yield Doubles(**services, **doubles)  # type: ignore[arg-type] # by their names


@pytest.fixture
async def connect_with(doubles: Doubles) -> AsyncIterator[Connect]:
    """A client of a gateway with other settings."""
    async with AsyncExitStack() as stack:

        def open_(**settings: object) -> httpx.AsyncClient:
            app = make_app(GatewaySettings(**{"app_url": ORIGIN, **settings}), doubles.clients)  # type: ignore[arg-type] # names differ by test
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
            stack.push_async_callback(client.aclose)
            return client

        yield open_


@pytest.fixture
def client(connect_with: Connect) -> httpx.AsyncClient:
    """A client of a gateway as it comes."""
    return connect_with()
