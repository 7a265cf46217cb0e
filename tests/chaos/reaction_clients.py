"""The load generator for likes: clients that like, favourite and take back, one reaction at a time, and their log.

A client that got no answer reads the state before it goes on, so that the log always knows what has to be there.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import httpx

from tests.e2e.community.callers import token

REQUEST_SECONDS = 10.0  # a timeout
RETRY_SECONDS = 0.1  # between reads while the gateway is down
TOKEN_SECONDS = 7200  # above the longest run
SHOWN_AS = {"like": "liked", "favorite": "faved"}  # the last word of the route, and the name in answers


class Outcome(StrEnum):
    """What the answer to a reaction says of it."""

    OK = "ok"
    FAIL = "fail"
    """Refused: nothing has changed."""
    UNKNOWN = "unknown"
    """No answer, or a proxy's error: it may have been done."""


class Reaction(NamedTuple):
    """A person sets or takes back (`wanted` is False) a like or favourite of an artwork."""

    person: str
    artwork: str
    kind: str
    wanted: bool


class LogEntry(NamedTuple):
    """A reaction and its outcome; `present` is whether the answer, or the state read after it, shows the reaction."""

    reaction: Reaction
    outcome: Outcome
    present: bool
    seconds: float


@dataclass
class ReactionLog:
    """What every client did, and answers that contradict what was known before (`unexpected`)."""

    entries: list[LogEntry] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    _present: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def append(self, entry: LogEntry) -> None:
        """Note a reaction and its outcome."""
        self.entries.append(entry)
        self._present[entry.reaction[:3]] = entry.present

    def present(self, person: str, artwork: str, kind: str) -> bool:
        """Whether a person's reaction has to be there now."""
        return self._present.get((person, artwork, kind), False)

    def counted(self, kind: str) -> Counter[str]:
        """How many reactions of a kind each artwork has to have."""
        return Counter(artwork for (_, artwork, each), there in self._present.items() if there and each == kind)

    def outcomes(self) -> Counter[Outcome]:
        """How many reactions had each outcome."""
        return Counter(entry.outcome for entry in self.entries)


class ReactionClient:
    """The client of one person, which sends one reaction at a time."""

    def __init__(self, http: httpx.AsyncClient, person: str, log: ReactionLog) -> None:
        self._http, self._person, self._log = http, person, log
        bearer = token(person, exp=int(time.time()) + TOKEN_SECONDS)
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def send(self, reaction: Reaction) -> None:
        """Send a reaction, note its outcome, and compare the answer with what was known before."""
        began, outcome, state = time.monotonic(), Outcome.UNKNOWN, None
        answer = await self._request(
            "POST" if reaction.wanted else "DELETE", f"/api/artworks/{reaction.artwork}/{reaction.kind}"
        )
        if answer is not None and answer.is_success:
            outcome, state = Outcome.OK, answer.json()["data"]
        elif answer is not None and answer.is_client_error:
            outcome = Outcome.FAIL
            self._log.unexpected.append(f"{reaction}: {answer.status_code} {answer.text}")
        state = state or await self._state(reaction.artwork)
        present = bool(state["user_state"][SHOWN_AS[reaction.kind]])
        self._compare(reaction, outcome, state)
        self._log.append(LogEntry(reaction, outcome, present, time.monotonic() - began))

    def _compare(self, reaction: Reaction, outcome: Outcome, state: dict[str, Any]) -> None:
        for kind, name in SHOWN_AS.items():
            before, shown = self._log.present(reaction.person, reaction.artwork, kind), state["user_state"][name]
            allowed = {
                Outcome.OK: {reaction.wanted},
                Outcome.FAIL: {before},
                Outcome.UNKNOWN: {before, reaction.wanted},
            }[outcome]
            if shown not in (allowed if kind == reaction.kind else {before}):
                self._log.unexpected.append(
                    f"{reaction} was {outcome} after {kind}={before}, and the stack says {shown}"
                )

    async def _state(self, artwork: str) -> dict[str, Any]:
        """Counts and the person's own reactions of an artwork, read until there is an answer."""
        while True:
            answer = await self._request("GET", f"/api/artworks/{artwork}/state")
            if answer is not None and answer.is_success:
                return dict(answer.json()["data"])
            await asyncio.sleep(RETRY_SECONDS)

    async def _request(self, method: str, path: str) -> httpx.Response | None:
        """The answer; None when there is none, or a proxy's error."""
        try:
            answer = await self._http.request(method, path, headers=self._headers)
        except httpx.HTTPError:
            return None
        return answer if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR else None


def reactions(seed: str, person: str, artworks: Sequence[str]) -> Iterator[Reaction]:
    """The reactions of a person, without end; always the same for a seed."""
    rng, kinds = random.Random(f"{seed}/{person}"), tuple(SHOWN_AS)
    while True:
        yield Reaction(person, rng.choice(artworks), rng.choice(kinds), rng.random() < 0.5)
