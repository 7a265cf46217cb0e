"""A consumer of generation's events, as the community service is one: each event is read at least once."""

import asyncio
from contextlib import suppress

from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

RETRY_SECONDS = 0.2
RECONNECT = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50))  # of a stack that dies
State = generationpb.Generation.State
UNSENT = frozenset({State.STATE_READY, State.STATE_DIALING})
UNDER_WAY = frozenset({State.STATE_SENDING, State.STATE_AMBIGUOUS, State.STATE_RUNNING, State.STATE_STORING})
SENT = frozenset(State.values()) - UNSENT
ENDED = SENT - UNDER_WAY


class EventConsumer:
    """Reads the stream, anew from the last sequence seen whenever it breaks, and keeps the newest state by prompt."""

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
        """How many generations have ended."""
        return len(self._by_prompt) - len(self._open)

    def latest(self, prompt: str) -> generationpb.Generation | None:
        """The generation of a prompt, as the newest event shows it."""
        return self._by_prompt.get(prompt)

    async def run(self) -> None:
        """Read events until cancelled."""
        async with aio.insecure_channel(self._address, options=RECONNECT) as channel:
            stub: generationrpc.GenerationServiceAsyncStub = generationrpc.GenerationServiceStub(channel)
            while True:
                with suppress(aio.AioRpcError):
                    await self._consume(stub)
                await asyncio.sleep(RETRY_SECONDS)

    async def _consume(self, stub: "generationrpc.GenerationServiceAsyncStub") -> None:
        after = self.seen[-1] if self.seen else 0
        async for event in stub.WatchEvents(generationpb.WatchEventsRequest(after_sequence=after)):
            self.seen.append(event.sequence)
            self._note(event.generation)

    def _note(self, generation: generationpb.Generation) -> None:
        self._by_prompt[generation.prompt] = generation
        if generation.state in ENDED:
            self._open.discard(generation.name)
        else:
            self._open.add(generation.name)
