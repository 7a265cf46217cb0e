"""A watch goes on with another replica when its own stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from gateway.clients.watches import Watches
from services.chassis.channels import plain_channel
from services.chassis.server import Mount
from tests.gateway.doubles.generation.servicer import GenerationService
from tests.support.polling import DEADLINE_SECONDS, eventually
from tests.support.servers import serving

Generation = generationpb.Generation


class Replica:
    """A generation service that can be stopped."""

    def __init__(self) -> None:
        self.service = GenerationService()
        self.exits = AsyncExitStack()

    async def start(self) -> str:
        """Serve; returns the address."""
        register = generationrpc.add_GenerationServiceServicer_to_server
        mount = Mount(register, self.service, generationpb.DESCRIPTOR)
        return await self.exits.enter_async_context(serving(mount))


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    """Two that know the same generation, as replicas do by their database."""
    pair = [Replica(), Replica()]
    pair[0].service.add("gen_1", state=Generation.STATE_READY)
    pair[1].service.rows = pair[0].service.rows
    yield pair
    for replica in pair:
        await replica.exits.aclose()


async def test_a_watch_goes_on_with_another_replica_and_misses_no_change(replicas: list[Replica]) -> None:
    target = f"ipv4:{','.join([await replica.start() for replica in replicas])}"
    watches = Watches(1, 1, asyncio.Event())
    async with plain_channel(target) as channel:
        stub = generationrpc.GenerationServiceStub(channel)
        async with watches.open(stub, "gen_1", "192.0.2.1") as watch:
            first = await watch.first()
            (stopping,) = [replica for replica in replicas if replica.service.watchers]
            (other,) = [replica for replica in replicas if replica is not stopping]
            other.service.change("gen_1", state=Generation.STATE_RUNNING, progress_percent=40)
            await stopping.exits.aclose()
            missed = await watch.next(DEADLINE_SECONDS)
            await eventually(lambda: other.service.watchers)
            other.service.change("gen_1", state=Generation.STATE_SUCCEEDED)
            last = await watch.next(DEADLINE_SECONDS)
            end = await watch.next(DEADLINE_SECONDS)

    assert (first.state, first.progress_percent) == (Generation.STATE_READY, 0)
    assert missed is not None
    assert (missed.state, missed.progress_percent) == (Generation.STATE_RUNNING, 40)
    assert last is not None
    assert (last.state, end, watch.over) == (Generation.STATE_SUCCEEDED, None, True)


async def test_a_watch_is_over_when_no_replica_answers(replicas: list[Replica]) -> None:
    watches = Watches(1, 1, asyncio.Event())
    async with plain_channel(f"ipv4:{await replicas[0].start()}") as channel:
        stub = generationrpc.GenerationServiceStub(channel)
        async with watches.open(stub, "gen_1", "192.0.2.1") as watch:
            await watch.first()
            await replicas[0].exits.aclose()

            assert (await watch.next(DEADLINE_SECONDS), watch.over) == (None, True)
