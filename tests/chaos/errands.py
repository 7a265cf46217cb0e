"""What customers do besides ordering: cancel early and late, retry what failed, share what they got."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

import grpc
import httpx
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.names import parse_id
from tests.chaos.book import Book, Errand, Order
from tests.chaos.follower import ENDED, RECONNECT, SENT, Follower, State
from tests.chaos.stack import ChaosStack

T = TypeVar("T")
AGAIN_SECONDS = 0.2
PATIENCE_SECONDS = 6.0  # of one request; a hung process is asked again
NO = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT})


class Errands:
    """Runs each customer's errand beside the order, and asks again until somebody says yes or no."""

    def __init__(self, stack: ChaosStack, book: Book, follower: Follower) -> None:
        self._book = book
        self._follower = follower
        self._channel = aio.insecure_channel(stack.generation, options=RECONNECT)
        self._stub: generationrpc.GenerationServiceAsyncStub = generationrpc.GenerationServiceStub(self._channel)
        self._http = httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE_SECONDS, trust_env=False)
        self._running: set[asyncio.Task[None]] = set()
        self._ways: Mapping[Errand, Callable[[Order], Awaitable[None]]] = {
            Errand.HASTY: self._hasty,
            Errand.CANCEL: self._cancel,
            Errand.RETRY: self._retry,
            Errand.SHARE: self._share,
        }

    def begin(self, order: Order) -> None:
        """Start an order's errand, if it has one."""
        if order.errand:
            self._running.add(asyncio.ensure_future(self._go(order)))

    async def finish(self, seconds: float) -> None:
        """Wait for all of them; one that never ends is odd."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=seconds)
            self._book.odd += [f"an errand never ended: {task.get_coro()}" for task in late]
            await asyncio.gather(*(self._running - late))

    async def close(self) -> None:
        """Drop what is left and hang up."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._http.aclose()
        await self._channel.close()

    async def _go(self, order: Order) -> None:
        await self._ways[order.errand](order)

    async def _hasty(self, order: Order) -> None:
        if now := await self._in_state(order, State.values()):
            await self._withdraw(now)

    async def _cancel(self, order: Order) -> None:
        if now := await self._in_state(order, SENT):
            await self._withdraw(now)

    async def _withdraw(self, now: generationpb.Generation) -> None:
        identifier, request = parse_id("generations", now.name), generationpb.CancelGenerationRequest(name=now.name)
        self._book.cancels[identifier] = False
        done = await self._insist(lambda: self._stub.CancelGeneration(request, timeout=PATIENCE_SECONDS))
        self._book.cancels[identifier] = done is not None

    async def _retry(self, order: Order) -> None:
        now = await self._in_state(order, ENDED)
        if now and now.state == State.STATE_FAILED:
            self._book.retries.add(parse_id("generations", now.name))
            request = generationpb.RetryGenerationRequest(name=now.name)
            await self._insist(lambda: self._stub.RetryGeneration(request, timeout=PATIENCE_SECONDS))

    async def _share(self, order: Order) -> None:
        now = await self._in_state(order, ENDED)
        if now and now.state == State.STATE_SUCCEEDED:
            uri = now.outputs[0].uri
            told = await asyncio.gather(self._shared(order, uri), self._shared(order, uri))
            self._book.shares[uri] = set(told)

    async def _shared(self, order: Order, uri: str) -> str:
        """Share a picture until a share's id is told."""
        body = {"generatedUrl": uri, "prompt": order.prompt, "style": "chaos"}
        while True:
            try:
                answer = await self._http.post("/api/share", json=body)
                if answer.is_success:
                    return str(answer.json()["shareId"])
                if answer.is_client_error:
                    self._book.odd.append(f"a share was refused: {answer.status_code} {answer.text}")
                    return ""
            except httpx.HTTPError:
                pass
            await asyncio.sleep(AGAIN_SECONDS)

    async def _in_state(self, order: Order, states: Collection[int]) -> generationpb.Generation | None:
        """The generation once it is known to be in one of these states; None when the order was refused."""
        while order.prompt not in self._book.refused:
            if (now := self._follower.latest(order.prompt)) and now.state in states:
                return now
            await asyncio.sleep(AGAIN_SECONDS)
        return None

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Ask until there is an answer; None is no."""
        while True:
            try:
                return await ask()
            except aio.AioRpcError as error:
                if error.code() in NO:
                    return None
            await asyncio.sleep(AGAIN_SECONDS)
