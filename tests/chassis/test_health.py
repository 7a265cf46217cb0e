"""Health says NOT_SERVING until the pings answer, while they fail, and from the drain on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.health import Health
from tests.chassis.echo import SERVICE, Client, mount
from tests.support.servers import serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Dependency:
    """Answers pings until it is broken."""

    def __init__(self) -> None:
        self.broken = False

    async def ping(self) -> None:
        if self.broken:
            raise ConnectionError("gone")


async def unused(text: str) -> str:
    return text


@asynccontextmanager
async def served(health: Health) -> AsyncIterator[Client]:
    """A server of this health, and a bare channel: the chassis' own turns away from servers by what health says."""
    async with serving(mount(unused), health=health) as address, aio.insecure_channel(address) as channel:
        yield Client(channel)


async def shown(client: Client) -> set[int]:
    """What the server says of itself and of its service."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    requests = [health_pb2.HealthCheckRequest(service=service) for service in ("", SERVICE)]
    return {(await stub.Check(request)).status for request in requests}


async def test_a_server_does_not_serve_before_the_first_ping() -> None:
    health = Health([SERVICE], [Dependency().ping])
    await health.start()
    async with served(health) as client:
        before = await shown(client)
        await health.check()
        after = await shown(client)

    assert (before, after) == ({NOT_SERVING}, {SERVING})


async def test_health_flips_with_the_pings() -> None:
    first, second = Dependency(), Dependency()
    health = Health([SERVICE], [first.ping, second.ping])
    async with served(health) as client:
        statuses = []
        for broken in (False, True, False):
            second.broken = broken
            await health.check()
            statuses.append(await shown(client))

    assert statuses == [{SERVING}, {NOT_SERVING}, {SERVING}]


async def test_a_service_without_pings_serves() -> None:
    health = Health([SERVICE], [])
    await health.start()
    async with served(health) as client:
        await health.check()

        assert await shown(client) == {SERVING}


async def test_no_ping_ends_the_drain() -> None:
    health = Health([SERVICE], [Dependency().ping])
    async with served(health) as client:
        await health.check()
        await health.drain()
        await health.check()

        assert await shown(client) == {NOT_SERVING}


async def test_a_check_that_runs_during_the_drain_does_not_undo_it() -> None:
    answered, pinged = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        pinged.set()
        await answered.wait()

    health = Health([SERVICE], [slow])
    await health.start()
    async with served(health) as client:
        checking = asyncio.create_task(health.check())
        await pinged.wait()
        await health.drain()
        answered.set()
        await checking

        assert await shown(client) == {NOT_SERVING}


async def test_a_watcher_hears_of_the_drain() -> None:
    health = Health([SERVICE], [])
    await health.check()
    async with served(health) as client:
        stub = health_pb2_grpc.HealthStub(client.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        first = await watch.read()
        await health.drain()
        second = await watch.read()
        watch.cancel()

    assert [first.status, second.status] == [SERVING, NOT_SERVING]


async def test_a_part_that_fails_is_told_under_its_own_name_and_the_service_goes_on() -> None:
    part, whole = Dependency(), Dependency()
    health = Health([SERVICE], [whole.ping], {"part": part.ping})
    async with served(health) as client:
        stub, request = health_pb2_grpc.HealthStub(client.channel), health_pb2.HealthCheckRequest(service="part")
        await health.start()
        statuses = [(await stub.Check(request)).status]
        for part.broken, whole.broken in ((False, False), (True, False), (False, True)):
            await health.check()
            statuses.append((await stub.Check(request)).status)
            assert await shown(client) == {NOT_SERVING if whole.broken else SERVING}

    assert statuses == [NOT_SERVING, SERVING, NOT_SERVING, NOT_SERVING]
