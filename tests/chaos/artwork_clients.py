"""The load generator for artworks: signed-in clients that order on credit, each until it is answered."""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.event_consumer import EventConsumer
from tests.chaos.order_clients import CALLBACKS, FAIL_ONCE, REQUEST_SECONDS, RETRY_SECONDS, SCRIPTS, drawn
from tests.chaos.stack import ChaosStack
from tests.e2e.community.callers import token

CLIENTS = 10
MOST_UNDER_WAY = 24  # clients wait while more have not ended, so that orders and kills keep pace
TOKEN_SECONDS = 7200  # above the longest run
MODELS = ("flux-kontext-pro", "flux-kontext-max")
# Left out: a script that needs a follow-up, one that Flux does not have, and a refusal, which leaves an artwork of its
# own each time that its answer is lost.
LEFT_OUT = frozenset({FAIL_ONCE.format("{}"), "variants:2,{}", "422"})
FLUX_SCRIPTS = {script: weight for script, weight in SCRIPTS.items() if script not in LEFT_OUT}


@dataclass(frozen=True)
class ArtworkOrder:
    """One order of one person; `key` is its idempotency key."""

    person: str
    key: str
    body: Mapping[str, str]

    @property
    def prompt(self) -> str:
        return self.body["prompt"]


@dataclass
class ArtworkLog:
    """What was ordered and which artwork was answered, by prompt; and answers that no client should get."""

    ordered: dict[str, ArtworkOrder] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)


class ArtworkClients:
    """Clients of a stack, at most `at_once` of which wait for an answer at the same time."""

    def __init__(self, stack: ChaosStack, consumer: EventConsumer, at_once: int) -> None:
        self.log = ArtworkLog()
        self._consumer = consumer
        self._limit = asyncio.Semaphore(at_once)
        self.http = httpx.AsyncClient(base_url=stack.url, timeout=REQUEST_SECONDS, trust_env=False)

    async def order_until_answered(self, order: ArtworkOrder) -> None:
        """Send an order until it is accepted or refused for good."""
        async with self._limit:
            while self._under_way() > MOST_UNDER_WAY:  # noqa: ASYNC110 - a count that another task keeps
                await asyncio.sleep(RETRY_SECONDS)
            self.log.ordered[order.prompt] = order
            while True:
                answer = await self._send(order)
                if self._answered(order, answer):
                    return
                await asyncio.sleep(RETRY_SECONDS)

    def _under_way(self) -> int:
        """How many accepted artworks have not ended, whether generation knows them or not."""
        return len(self.log.accepted) - self._consumer.ended

    async def _send(self, order: ArtworkOrder) -> httpx.Response | None:
        headers = bearer(order.person) | {"Idempotency-Key": order.key}
        with suppress(httpx.HTTPError):
            return await self.http.post("/api/artworks/generate", json=dict(order.body), headers=headers)
        return None

    def _answered(self, order: ArtworkOrder, answer: httpx.Response | None) -> bool:
        if answer is None or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return False
        if answer.is_success:
            self._note_accepted(order, str(answer.json()["data"]["artworkId"]))
            return True
        if answer.status_code not in {httpx.codes.CONFLICT, httpx.codes.TOO_MANY_REQUESTS}:
            self.log.unexpected.append(f"{order.key}: {answer.status_code} {answer.text}")
            return True
        return False

    def _note_accepted(self, order: ArtworkOrder, artwork: str) -> None:
        known = self.log.accepted.setdefault(order.prompt, artwork)
        if known != artwork:
            self.log.unexpected.append(f"{order.key} was given {known}, then {artwork}")


def artwork_order_of(seed: str, number: int) -> ArtworkOrder:
    """The order with this number, always the same for a seed."""
    rng = random.Random(f"{seed}/commission/{number}")
    script = drawn(rng, FLUX_SCRIPTS).format(drawn(rng, CALLBACKS))
    body = {"prompt": f"gallery {seed} number {number} sim:{script}", "model": rng.choice(MODELS)}
    return ArtworkOrder(f"user_client{number % CLIENTS}", f"gallery-{seed}-{number}", body)


def bearer(person: str) -> dict[str, Any]:
    """The header that signs a request for a person."""
    return {"Authorization": f"Bearer {token(person, exp=int(time.time()) + TOKEN_SECONDS)}"}
