"""The customers: each orders one picture, again with the same key until somebody says yes or no."""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import suppress

import httpx

from tests.chaos.book import Book, Errand, Order
from tests.chaos.errands import Errands
from tests.chaos.follower import Follower
from tests.chaos.stack import ChaosStack

AGAIN_SECONDS = 0.2
PATIENCE_SECONDS = 6.0  # of one request; a hung gateway is asked again
PLACED_WITHIN_SECONDS = 300.0  # an order; far longer than any fault lasts
AGAIN = "fail then {}"  # the provider fails, and the customer orders once more
MOST_UNDER_WAY = 48  # customers wait while more have not ended, so that orders and kills keep pace
# What the provider does to the order, and how often of a hundred. `{}` is where the callback's fate goes.
DAYS: Mapping[str, float] = {
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
    AGAIN.format("{}"): 3,
    "policy,{}": 1,
}
CALLBACKS: Mapping[str, float] = {"nocallback": 30, "dupcallback:2": 30, "ok": 40}
ERRANDS: Mapping[Errand, float] = {Errand.NONE: 80, Errand.HASTY: 4, Errand.CANCEL: 4, Errand.SHARE: 12}
GPT4O = "/api/generate-image"
ROUTES: Mapping[str, tuple[Mapping[str, str], float]] = {
    GPT4O: ({}, 60),
    "/api/flux-kontext/generate": ({"model": "flux-kontext-pro"}, 25),
    "/api/nano-banana/generate": ({"model": "google/nano-banana"}, 15),
}


def order_of(seed: str, number: int) -> Order:
    """The order with this number, always the same for a seed."""
    dice = random.Random(f"{seed}/order/{number}")
    day, callback = drawn(dice, DAYS), drawn(dice, CALLBACKS)
    route = drawn(dice, {path: weight for path, (_, weight) in ROUTES.items()})
    if "variants" in day:  # the other families show one URL
        route = GPT4O
    errand = Errand.RETRY if day == AGAIN else Errand(drawn(dice, ERRANDS))
    return scripted(seed, number, day.format(callback), route, errand)


def scripted(seed: str, number: int, script: str, route: str = GPT4O, errand: Errand = Errand.NONE) -> Order:
    """An order whose day is known."""
    extra, _ = ROUTES[route]
    prompt = f"storm {seed} number {number} sim:{script}"
    return Order(f"chaos-{seed}-{number}", route, {"prompt": prompt, **extra}, errand)


def drawn(dice: random.Random, weights: Mapping[str, float] | Mapping[Errand, float]) -> str:
    """One of the keys."""
    return dice.choices(list(weights), list(weights.values()))[0]


class Customers:
    """Place orders at a stack."""

    def __init__(self, stack: ChaosStack, book: Book, follower: Follower, at_once: int) -> None:
        self._book = book
        self._follower = follower
        self.errands = Errands(stack, book, follower)
        self._room = asyncio.Semaphore(at_once)
        limits = httpx.Limits(max_keepalive_connections=at_once)
        self._http = httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE_SECONDS, trust_env=False, limits=limits)

    async def place(self, order: Order) -> None:
        """Order until somebody says yes or no."""
        async with self._room:
            await self._turn()
            self._book.orders[order.prompt] = order
            self.errands.begin(order)
            end = time.monotonic() + PLACED_WITHIN_SECONDS
            while not self._settled(order, answer := await self._ask(order)):
                if time.monotonic() > end:
                    self._book.odd.append(f"{order.key} had no yes or no: {answer and answer.text}")
                    return
                await asyncio.sleep(AGAIN_SECONDS)

    async def close(self) -> None:
        """Hang up."""
        await self.errands.close()
        await self._http.aclose()

    async def _turn(self) -> None:
        """Wait until the stack has caught up."""
        while self._follower.under_way > MOST_UNDER_WAY:  # noqa: ASYNC110 - it is another's count, not an event
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, order: Order) -> httpx.Response | None:
        with suppress(httpx.HTTPError):
            return await self._http.post(order.route, json=dict(order.body), headers={"Idempotency-Key": order.key})
        return None

    def _settled(self, order: Order, answer: httpx.Response | None) -> bool:
        if answer is None or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return False
        told = answer.json()
        if answer.is_success:
            known = self._book.accepted.setdefault(order.prompt, str(told["taskId"]))
            if known != told["taskId"]:
                self._book.odd.append(f"{order.key} was given {known}, then {told['taskId']}")
            return True
        if told.get("code") == "PROVIDER_REJECTED":
            self._book.refused[order.prompt] = told
            return True
        if answer.status_code not in {httpx.codes.CONFLICT, httpx.codes.TOO_MANY_REQUESTS}:
            self._book.odd.append(f"{order.key}: {answer.status_code} {told}")
            return True
        return False
