"""Typed stubs of the services, one channel each, and helpers that answer None where an absence is an answer."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kawaii.community.v1 import artworks_pb2_grpc as artworksrpc
from kawaii.community.v1 import credits_pb2_grpc as creditsrpc
from kawaii.community.v1 import users_pb2_grpc as usersrpc
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.share.v1 import admin_pb2_grpc as shareadminrpc
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc
from starlette.requests import Request

from services.chassis.channels import connect
from services.chassis.settings import CommonSettings

BYTES = "bytes"  # the part of storage that is its disk or bucket
HEALTH_SECONDS = 2.0  # a service whose health check takes longer serves nobody
T = TypeVar("T")


@dataclass(frozen=True)
class Clients:
    """A stub of each service, and of each service's health by the service's name."""

    generation: "generationrpc.GenerationServiceAsyncStub"
    storage: "storagerpc.StorageServiceAsyncStub"
    share: "sharerpc.ShareServiceAsyncStub"
    admin: "generationadminrpc.GenerationAdminServiceAsyncStub"
    share_admin: "shareadminrpc.ShareAdminServiceAsyncStub"
    artworks: "artworksrpc.ArtworkServiceAsyncStub"
    users: "usersrpc.UserServiceAsyncStub"
    credits: "creditsrpc.CreditServiceAsyncStub"
    health: Mapping[str, health_pb2_grpc.HealthStub]

    async def serving(self, service: str, seconds: float = HEALTH_SECONDS, part: str = "") -> bool:
        """Whether a service, or a part of it, says SERVING; one that cannot be reached in time does not."""
        try:
            request = health_pb2.HealthCheckRequest(service=part)
            answer = await self.health[service].Check(request, timeout=seconds)
        except aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def answered(call: Awaitable[T]) -> T | None:
    """The answer of a call, or None when the call failed."""
    try:
        return await call
    except aio.AioRpcError:
        return None


async def found(call: Awaitable[T]) -> T | None:
    """The answer of a call, or None when it says NOT_FOUND."""
    try:
        return await call
    except aio.AioRpcError as failure:
        if failure.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


async def offered(call: Awaitable[T]) -> T | None:
    """The answer of a call, or None when it says UNIMPLEMENTED: the operator has turned the feature off."""
    try:
        return await call
    except aio.AioRpcError as failure:
        if failure.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        raise


def over(generation: aio.Channel, storage: aio.Channel, share: aio.Channel, community: aio.Channel) -> Clients:
    """Stubs over open channels."""
    channels = {"generation": generation, "storage": storage, "share": share, "community": community}
    return Clients(
        generation=generationrpc.GenerationServiceStub(generation),
        storage=storagerpc.StorageServiceStub(storage),
        share=sharerpc.ShareServiceStub(share),
        admin=generationadminrpc.GenerationAdminServiceStub(generation),
        share_admin=shareadminrpc.ShareAdminServiceStub(share),
        artworks=artworksrpc.ArtworkServiceStub(community),
        users=usersrpc.UserServiceStub(community),
        credits=creditsrpc.CreditServiceStub(community),
        health={name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()},
    )


@asynccontextmanager
async def open_clients(settings: CommonSettings) -> AsyncIterator[Clients]:
    """Open the channels to this stack's services; each connects when first used."""
    async with (
        connect(settings, "generation") as generation,
        connect(settings, "storage") as storage,
        connect(settings, "share") as share,
        connect(settings, "community") as community,
    ):
        yield over(generation, storage, share, community)


def of(request: Request) -> Clients:
    """The clients of the application that answers a request."""
    return cast("Clients", request.app.state.clients)
