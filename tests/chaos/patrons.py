"""The patrons: people with accounts who order pictures at the community's door until they are told yes or no."""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.follower import Follower
from tests.chaos.orders import AGAIN, AGAIN_SECONDS, CALLBACKS, DAYS, PATIENCE_SECONDS, drawn
from tests.chaos.stack import ChaosStack
from tests.e2e.community.callers import token

PATRONS = 10
MOST_UNDER_WAY = 24  # patrons wait while more have not ended, so that orders and kills keep pace
TOKEN_SECONDS = 7200  # above the longest storm
MODELS = ("flux-kontext-pro", "flux-kontext-max")
# What is left out: one day that only an errand brings to an end, one that Flux does not have, and a refusal, which
# leaves an artwork of its own each time that its answer is lost.
STRANGE = frozenset({AGAIN.format("{}"), "variants:2,{}", "422"})
FLUX_DAYS = {day: weight for day, weight in DAYS.items() if day not in STRANGE}


@dataclass(frozen=True)
class Commission:
    """One patron's wish."""

    person: str
    key: str
    body: Mapping[str, str]

    @property
    def prompt(self) -> str:
        return self.body["prompt"]


@dataclass
class Accounts:
    """What patrons were told: artworks by prompt, and answers that nobody should get."""

    wanted: dict[str, Commission] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)


class Patrons:
    """Order artworks at a stack, so many at once."""

    def __init__(self, stack: ChaosStack, follower: Follower, at_once: int) -> None:
        self.accounts = Accounts()
        self._follower = follower
        self._room = asyncio.Semaphore(at_once)
        self.http = httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE_SECONDS, trust_env=False)

    async def place(self, commission: Commission) -> None:
        """Order until somebody says yes or no."""
        async with self._room:
            while self._under_way() > MOST_UNDER_WAY:  # noqa: ASYNC110 - it is another's count, not an event
                await asyncio.sleep(AGAIN_SECONDS)
            self.accounts.wanted[commission.prompt] = commission
            while True:
                answer = await self._ask(commission)
                if self._settled(commission, answer):
                    return
                await asyncio.sleep(AGAIN_SECONDS)

    def _under_way(self) -> int:
        """Artworks that may still be on their way, whether generation was asked for them or not."""
        return len(self.accounts.accepted) - self._follower.ended

    async def _ask(self, commission: Commission) -> httpx.Response | None:
        headers = signed(commission.person) | {"Idempotency-Key": commission.key}
        with suppress(httpx.HTTPError):
            return await self.http.post("/api/artworks/generate", json=dict(commission.body), headers=headers)
        return None

    def _settled(self, commission: Commission, answer: httpx.Response | None) -> bool:
        if answer is None or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return False
        if answer.is_success:
            self._agree(commission, str(answer.json()["data"]["artworkId"]))
            return True
        if answer.status_code not in {httpx.codes.CONFLICT, httpx.codes.TOO_MANY_REQUESTS}:
            self.accounts.odd.append(f"{commission.key}: {answer.status_code} {answer.text}")
            return True
        return False

    def _agree(self, commission: Commission, artwork: str) -> None:
        known = self.accounts.accepted.setdefault(commission.prompt, artwork)
        if known != artwork:
            self.accounts.odd.append(f"{commission.key} was given {known}, then {artwork}")


def commission_of(seed: str, number: int) -> Commission:
    """The commission with this number, always the same for a seed."""
    dice = random.Random(f"{seed}/commission/{number}")
    script = drawn(dice, FLUX_DAYS).format(drawn(dice, CALLBACKS))
    body = {"prompt": f"gallery {seed} number {number} sim:{script}", "model": dice.choice(MODELS)}
    return Commission(f"user_patron{number % PATRONS}", f"gallery-{seed}-{number}", body)


def signed(person: str) -> dict[str, Any]:
    """The headers of somebody's requests."""
    return {"Authorization": f"Bearer {token(person, exp=int(time.time()) + TOKEN_SECONDS)}"}
