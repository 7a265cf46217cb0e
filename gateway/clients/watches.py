"""Watches generations for clients that wait: a bounded number at once, each until its client leaves or we stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from starlette.requests import Request

from services.chassis.client_address import ClientLimit
from services.chassis.errors import Unavailable
from services.chassis.names import name

RETRY_SECONDS = 5.0  # places come free as pictures are finished
CROWDED = "Too many clients are watching. Ask for the details of the task every few seconds instead."
OWN = "Your address watches as many tasks as one may. Ask for the details of the task every few seconds instead."
Call = aio.UnaryStreamCall[generationpb.WatchGenerationRequest, generationpb.Generation]


class Watch:
    """One generation as it changes. `over` means that no change follows: it ended, its service is away, or we stop.

    A call that ends because its replica stops, or its connection has come of age, is begun anew, with any replica: its
    first answer is the generation as it is then, so that no change is missed.
    """

    def __init__(self, begin: Callable[[], Call], leaving: "asyncio.Future[Any]") -> None:
        self.over = False
        self._begin = begin
        self._answers: AsyncIterator[generationpb.Generation]
        self._start()
        self._leaving = leaving
        self._reading: asyncio.Future[Any] | None = None

    async def first(self) -> generationpb.Generation:
        """The generation as it is now. Raises AioRpcError: there is none, or its service cannot be reached."""
        generation = await anext(self._answers)
        self._answered = True
        return generation

    async def next(self, seconds: float) -> generationpb.Generation | None:
        """The next change; None when none came in time, and when the watch is over."""
        reading = self._reading = self._reading or asyncio.ensure_future(self._read())
        # Waits without cancelling: a read that is cancelled would end the whole call.
        await asyncio.wait({reading, self._leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            self.over = self._leaving.done()
            return None
        generation: generationpb.Generation | None = reading.result()
        self._reading, self.over = None, generation is None
        return generation

    def close(self) -> None:
        """End the call."""
        if self._reading:
            self._reading.cancel()
        self._call.cancel()

    async def _read(self) -> generationpb.Generation | None:
        """The next change, or None at the end. A call that fails before it has told anything is an end too."""
        try:
            generation = await anext(self._answers, None)
        except aio.AioRpcError:
            if not self._answered:
                return None
            self._start()
            return await self._read()
        self._answered = True
        return generation

    def _start(self) -> None:
        """Begin a call. It is iterated: grpc's read() drops answers that came together with the end of the call."""
        self._call = self._begin()
        self._answered = False
        self._answers = aiter(self._call)


class Watches:
    """The watches of this process: `limit` at once, `own` of a client, all of them over once `leaving` is set."""

    def __init__(self, limit: int, own: int, leaving: asyncio.Event) -> None:
        self._free = limit
        self._own = ClientLimit(own, "event streams")
        self._leaving = leaving

    def full(self, client: str) -> bool:
        """Whether this client can open no more now."""
        return self._free < 1 or self._own.held(client) >= self._own.most

    @asynccontextmanager
    async def open(
        self, stub: "generationrpc.GenerationServiceAsyncStub", task_id: str, client: str
    ) -> AsyncIterator[Watch]:
        """A watch of one generation, by either id, that ends with this context.

        Raises:
            Unavailable: too many are open, or too many of this client (reason TOO_MANY_STREAMS).
        """
        if self.full(client):
            raise Unavailable(CROWDED if self._free < 1 else OWN, "TOO_MANY_STREAMS", retry_after=RETRY_SECONDS)
        self._free -= 1
        self._own.take(client)
        leaving = asyncio.ensure_future(self._leaving.wait())
        wanted = generationpb.WatchGenerationRequest(name=name("generations", task_id))
        watch = Watch(lambda: stub.WatchGeneration(wanted), leaving)
        try:
            yield watch
        finally:
            watch.close()
            leaving.cancel()
            self._free += 1
            self._own.give_back(client)


def of(request: Request) -> Watches:
    """The watches of the application that answers a request."""
    return cast("Watches", request.app.state.watches)
