"""The load generator for orders: clients that order pictures by REST, then cancel, retry or share, and their log.

Each order is drawn from a seed by its number: the route, what the provider does with it (a script of the sandbox in the
prompt), whether its callback comes, and what the client does afterwards. A client repeats each request until it is
answered for certain. What was answered is written into a `ClientLog`, which the checker compares with the stack.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import grpc
import httpx
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.names import parse_id
from tests.chaos.event_consumer import ENDED, RECONNECT, SENT, EventConsumer, State
from tests.chaos.stack import ChaosStack

T = TypeVar("T")
REFUSALS = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT})


class FollowUp(StrEnum):
    """What a client does besides ordering."""

    NONE = ""
    CANCEL_EARLY = "cancel-early"
    """Cancels as soon as the order can be found, most often before it is sent to the provider."""
    CANCEL_LATE = "cancel-late"
    """Cancels once the order was sent to the provider."""
    RETRY = "retry"
    """Retries an order at which the provider has failed."""
    SHARE = "share"
    """Shares the finished picture, by two requests at once."""


@dataclass(frozen=True)
class Order:
    """One order of one client; `key` is its idempotency key."""

    key: str
    route: str
    body: Mapping[str, str]
    follow_up: FollowUp = FollowUp.NONE

    @property
    def prompt(self) -> str:
        return self.body["prompt"]


@dataclass
class ClientLog:
    """What the clients sent and what they were answered, kept outside of the stack.

    Attributes:
        orders: what was ordered, by prompt.
        accepted: the generation's id, by prompt.
        refused: the body of a final refusal, by prompt.
        cancels: by generation, whether its cancellation was confirmed.
        retries: generations that were retried.
        shares: ids of shares, by the picture's URL.
        unexpected: answers that no client should get.
    """

    orders: dict[str, Order] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancels: dict[str, bool] = field(default_factory=dict)
    retries: set[str] = field(default_factory=set)
    shares: dict[str, set[str]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)


RETRY_SECONDS = 0.2
REQUEST_SECONDS = 6.0  # a timeout; what hangs is asked again
ANSWERED_WITHIN_SECONDS = 300.0  # an order; far longer than any fault lasts
FAIL_ONCE = "fail then {}"  # the provider fails, and the client retries
MOST_UNDER_WAY = 48  # clients wait while more have not ended, so that orders and kills keep pace
# What the provider does with an order, and how often of a hundred; `{}` is replaced by one of CALLBACKS.
SCRIPTS: Mapping[str, float] = {
    "{}": 49,
    "slow:2,{}": 3,
    "invisible:1,{}": 3,
    "success-no-url:1,{}": 2,
    "early-complete,{}": 1,
    "variants:2,{}": 3,
    "result_urls,{}": 1,
    "expired-result,{}": 2,
    "html-result,{}": 2,
    "late-callback:2,{}": 3,
    "failcb-then-ok,{}": 2,
    "read-html502:2,{}": 1,
    "read-429:2,{}": 1,
    "callback-first,{}": 3,
    "reset-before,{}": 2,
    "reset-after,{}": 4,
    "hang-after:2,{}": 2,
    "html524,billed,{}": 2,
    "html502,{}": 1,
    "noid,{}": 1,
    "badjson,{}": 1,
    "emptyreply,{}": 1,
    "429http then {}": 3,
    "422": 1,
    "fail,{}": 2,
    FAIL_ONCE.format("{}"): 3,
    "policy,{}": 1,
}
CALLBACKS: Mapping[str, float] = {"nocallback": 30, "dupcallback:2": 30, "ok": 40}
FOLLOW_UPS: Mapping[FollowUp, float] = {
    FollowUp.NONE: 80,
    FollowUp.CANCEL_EARLY: 4,
    FollowUp.CANCEL_LATE: 4,
    FollowUp.SHARE: 12,
}
GPT4O = "/api/generate-image"
ROUTES: Mapping[str, tuple[Mapping[str, str], float]] = {
    GPT4O: ({}, 60),
    "/api/flux-kontext/generate": ({"model": "flux-kontext-pro"}, 25),
    "/api/nano-banana/generate": ({"model": "google/nano-banana"}, 15),
}


def order_of(seed: str, number: int) -> Order:
    """The order with this number, always the same for a seed."""
    rng = random.Random(f"{seed}/order/{number}")
    script, callback = drawn(rng, SCRIPTS), drawn(rng, CALLBACKS)
    route = drawn(rng, {path: weight for path, (_, weight) in ROUTES.items()})
    if "variants" in script:  # the other families show one URL
        route = GPT4O
    follow_up = FollowUp.RETRY if script == FAIL_ONCE else FollowUp(drawn(rng, FOLLOW_UPS))
    return scripted(seed, number, script.format(callback), route, follow_up)


def scripted(seed: str, number: int, script: str, route: str = GPT4O, follow_up: FollowUp = FollowUp.NONE) -> Order:
    """An order with this script of the sandbox."""
    extra, _ = ROUTES[route]
    prompt = f"storm {seed} number {number} sim:{script}"
    return Order(f"chaos-{seed}-{number}", route, {"prompt": prompt, **extra}, follow_up)


def drawn(rng: random.Random, weights: Mapping[str, float] | Mapping[FollowUp, float]) -> str:
    """A key, drawn by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


class OrderClients:
    """Clients of a stack, at most `at_once` of which wait for an answer at the same time."""

    def __init__(self, stack: ChaosStack, log: ClientLog, consumer: EventConsumer, at_once: int) -> None:
        self._log = log
        self._consumer = consumer
        self.follow_ups = FollowUps(stack, log, consumer)
        self._limit = asyncio.Semaphore(at_once)
        limits = httpx.Limits(max_keepalive_connections=at_once)
        self._http = httpx.AsyncClient(base_url=stack.url, timeout=REQUEST_SECONDS, trust_env=False, limits=limits)

    async def order_until_answered(self, order: Order) -> None:
        """Send an order until it is accepted or refused for good, and start its follow-up."""
        async with self._limit:
            await self._wait_for_capacity()
            self._log.orders[order.prompt] = order
            self.follow_ups.begin(order)
            end = time.monotonic() + ANSWERED_WITHIN_SECONDS
            while not self._answered(order, answer := await self._send(order)):
                if time.monotonic() > end:
                    self._log.unexpected.append(
                        f"{order.key} was neither accepted nor refused: {answer and answer.text}"
                    )
                    return
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Cancel the follow-ups that have not ended, and close the connections."""
        await self.follow_ups.close()
        await self._http.aclose()

    async def _wait_for_capacity(self) -> None:
        """Wait until fewer orders are under way."""
        while self._consumer.under_way > MOST_UNDER_WAY:  # noqa: ASYNC110 - a count that another task keeps
            await asyncio.sleep(RETRY_SECONDS)

    async def _send(self, order: Order) -> httpx.Response | None:
        with suppress(httpx.HTTPError):
            return await self._http.post(order.route, json=dict(order.body), headers={"Idempotency-Key": order.key})
        return None

    def _answered(self, order: Order, answer: httpx.Response | None) -> bool:
        if answer is None or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return False
        body = answer.json()
        if answer.is_success:
            known = self._log.accepted.setdefault(order.prompt, str(body["taskId"]))
            if known != body["taskId"]:
                self._log.unexpected.append(f"{order.key} was given {known}, then {body['taskId']}")
            return True
        if body.get("code") == "PROVIDER_REJECTED":
            self._log.refused[order.prompt] = body
            return True
        if answer.status_code not in {httpx.codes.CONFLICT, httpx.codes.TOO_MANY_REQUESTS}:
            self._log.unexpected.append(f"{order.key}: {answer.status_code} {body}")
            return True
        return False


class FollowUps:
    """Performs each client's follow-up beside its order; every request is repeated until it is answered for certain."""

    def __init__(self, stack: ChaosStack, log: ClientLog, consumer: EventConsumer) -> None:
        self._log = log
        self._consumer = consumer
        self._channel = aio.insecure_channel(stack.generation, options=RECONNECT)
        self._stub: generationrpc.GenerationServiceAsyncStub = generationrpc.GenerationServiceStub(self._channel)
        self._http = httpx.AsyncClient(base_url=stack.url, timeout=REQUEST_SECONDS, trust_env=False)
        self._running: set[asyncio.Task[None]] = set()
        self._actions: Mapping[FollowUp, Callable[[Order], Awaitable[None]]] = {
            FollowUp.CANCEL_EARLY: self._cancel_early,
            FollowUp.CANCEL_LATE: self._cancel_late,
            FollowUp.RETRY: self._retry,
            FollowUp.SHARE: self._share,
        }

    def begin(self, order: Order) -> None:
        """Start the follow-up of an order, if it has one."""
        if order.follow_up:
            self._running.add(asyncio.ensure_future(self._actions[order.follow_up](order)))

    async def finish(self, seconds: float) -> None:
        """Wait until all follow-ups have ended; one that does not is noted as unexpected."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=seconds)
            self._log.unexpected += [f"a follow-up never ended: {task.get_coro()}" for task in late]
            await asyncio.gather(*(self._running - late))

    async def close(self) -> None:
        """Cancel the follow-ups that have not ended, and close the connections."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._http.aclose()
        await self._channel.close()

    async def _cancel_early(self, order: Order) -> None:
        if now := await self._in_state(order, State.values()):
            await self._cancel(now)

    async def _cancel_late(self, order: Order) -> None:
        if now := await self._in_state(order, SENT):
            await self._cancel(now)

    async def _cancel(self, now: generationpb.Generation) -> None:
        identifier, request = parse_id("generations", now.name), generationpb.CancelGenerationRequest(name=now.name)
        self._log.cancels[identifier] = False
        done = await self._until_answered(lambda: self._stub.CancelGeneration(request, timeout=REQUEST_SECONDS))
        self._log.cancels[identifier] = done is not None

    async def _retry(self, order: Order) -> None:
        now = await self._in_state(order, ENDED)
        if now and now.state == State.STATE_FAILED:
            self._log.retries.add(parse_id("generations", now.name))
            request = generationpb.RetryGenerationRequest(name=now.name)
            await self._until_answered(lambda: self._stub.RetryGeneration(request, timeout=REQUEST_SECONDS))

    async def _share(self, order: Order) -> None:
        now = await self._in_state(order, ENDED)
        if now and now.state == State.STATE_SUCCEEDED:
            uri = now.outputs[0].uri
            share_ids = await asyncio.gather(
                self._share_until_answered(order, uri), self._share_until_answered(order, uri)
            )
            self._log.shares[uri] = set(share_ids)

    async def _share_until_answered(self, order: Order, uri: str) -> str:
        """Share a picture until it is shared or refused; the share's id, empty after a refusal."""
        body = {"generatedUrl": uri, "prompt": order.prompt, "style": "chaos"}
        while True:
            try:
                answer = await self._http.post("/api/share", json=body)
                if answer.is_success:
                    return str(answer.json()["shareId"])
                if answer.is_client_error:
                    self._log.unexpected.append(f"a share was refused: {answer.status_code} {answer.text}")
                    return ""
            except httpx.HTTPError:
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def _in_state(self, order: Order, states: Collection[int]) -> generationpb.Generation | None:
        """The generation, once an event has shown it in one of these states; None when the order was refused."""
        while order.prompt not in self._log.refused:
            if (now := self._consumer.latest(order.prompt)) and now.state in states:
                return now
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _until_answered(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Repeat a call until it is answered; None after a refusal."""
        while True:
            try:
                return await call()
            except aio.AioRpcError as error:
                if error.code() in REFUSALS:
                    return None
            await asyncio.sleep(RETRY_SECONDS)
