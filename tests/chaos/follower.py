"""A consumer of generation's events, as the community service is one: it reads at least once and forgets nothing."""

import asyncio
from contextlib import suppress

from grpc import aio
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.generation.v1.generation_pb2 import WatchEventsRequest

AGAIN_SECONDS = 0.2
RECONNECT = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50))  # of a town that dies


class Follower:
    """Follows the stream for ever, from the last sequence it has seen."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.seen: list[int] = []

    async def run(self) -> None:
        """Follow until cancelled."""
        async with aio.insecure_channel(self._address, options=RECONNECT) as channel:
            stub: generationrpc.GenerationServiceAsyncStub = generationrpc.GenerationServiceStub(channel)
            while True:
                with suppress(aio.AioRpcError):
                    await self._follow(stub)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, stub: "generationrpc.GenerationServiceAsyncStub") -> None:
        after = self.seen[-1] if self.seen else 0
        async for event in stub.WatchEvents(WatchEventsRequest(after_sequence=after)):
            self.seen.append(event.sequence)
