"""A consumer of generation's events, as the community service is one: it reads at least once and forgets nothing."""

import asyncio
from contextlib import suppress

from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

AGAIN_SECONDS = 0.2
RECONNECT = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50))  # of a stack that dies
State = generationpb.Generation.State
UNSENT = frozenset({State.STATE_READY, State.STATE_DIALING})
UNDER_WAY = frozenset({State.STATE_SENDING, State.STATE_AMBIGUOUS, State.STATE_RUNNING, State.STATE_STORING})
SENT = frozenset(State.values()) - UNSENT
ENDED = SENT - UNDER_WAY


class Follower:
    """Follows the stream for ever, from the last sequence it has seen, and knows each generation as it was last."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._by_prompt: dict[str, generationpb.Generation] = {}
        self._open: set[str] = set()
        self.seen: list[int] = []

    @property
    def under_way(self) -> int:
        """How many generations have not ended."""
        return len(self._open)

    @property
    def ended(self) -> int:
        """How many have."""
        return len(self._by_prompt) - len(self._open)

    def latest(self, prompt: str) -> generationpb.Generation | None:
        """The generation of a prompt, as far as we have heard of it."""
        return self._by_prompt.get(prompt)

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
        async for event in stub.WatchEvents(generationpb.WatchEventsRequest(after_sequence=after)):
            self.seen.append(event.sequence)
            self._learn(event.generation)

    def _learn(self, generation: generationpb.Generation) -> None:
        self._by_prompt[generation.prompt] = generation
        if generation.state in ENDED:
            self._open.discard(generation.name)
        else:
            self._open.add(generation.name)
