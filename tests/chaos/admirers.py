"""People who like and unlike without rest, and the book in which each act is written down before the next is begun."""

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

PATIENCE_SECONDS = 10.0  # of one request
AGAIN_SECONDS = 0.1  # between looks at a stack whose gateway is away
TOKEN_SECONDS = 7200  # above the longest storm
WORDS = {"like": "liked", "favorite": "faved"}  # a route's last word, and what an answer calls it


class Outcome(StrEnum):
    """What somebody knows of what they did."""

    OK = "ok"
    FAIL = "fail"
    """A definite no: nothing has changed."""
    UNKNOWN = "unknown"
    """No answer, or that of a proxy: it may have been done."""


class Act(NamedTuple):
    """One wish of one person about one artwork."""

    person: str
    artwork: str
    word: str
    wanted: bool


class Line(NamedTuple):
    """A line of the book. `stands` is what the person then read or was told: is it there, or not."""

    act: Act
    outcome: Outcome
    stands: bool
    seconds: float


@dataclass
class History:
    """Append-only. What it says stands is the model; `odd` are answers that contradict it."""

    lines: list[Line] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    _stands: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def note(self, line: Line) -> None:
        """Write a line."""
        self.lines.append(line)
        self._stands[line.act[:3]] = line.stands

    def stands(self, person: str, artwork: str, word: str) -> bool:
        """Whether a person's reaction is there."""
        return self._stands.get((person, artwork, word), False)

    def counted(self, word: str) -> Counter[str]:
        """How many have reacted so to each artwork."""
        return Counter(artwork for (_, artwork, kind), there in self._stands.items() if there and kind == word)

    def outcomes(self) -> Counter[Outcome]:
        """How often each outcome came."""
        return Counter(line.outcome for line in self.lines)


class Admirer:
    """Somebody who acts one thing at a time."""

    def __init__(self, http: httpx.AsyncClient, person: str, history: History) -> None:
        self._http, self._person, self._history = http, person, history
        bearer = token(person, exp=int(time.time()) + TOKEN_SECONDS)
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def act(self, act: Act) -> None:
        """Do it, write down what came of it, and hold every answer against what was written before."""
        began, outcome, told = time.monotonic(), Outcome.UNKNOWN, None
        answer = await self._ask("POST" if act.wanted else "DELETE", f"/api/artworks/{act.artwork}/{act.word}")
        if answer is not None and answer.is_success:
            outcome, told = Outcome.OK, answer.json()["data"]
        elif answer is not None and answer.is_client_error:
            outcome = Outcome.FAIL
            self._history.odd.append(f"{act}: {answer.status_code} {answer.text}")
        told = told or await self._state(act.artwork)
        stands = bool(told["user_state"][WORDS[act.word]])
        self._compare(act, outcome, told)
        self._history.note(Line(act, outcome, stands, time.monotonic() - began))

    def _compare(self, act: Act, outcome: Outcome, told: dict[str, Any]) -> None:
        for word, name in WORDS.items():
            before, shown = self._history.stands(act.person, act.artwork, word), told["user_state"][name]
            right = {Outcome.OK: {act.wanted}, Outcome.FAIL: {before}, Outcome.UNKNOWN: {before, act.wanted}}[outcome]
            if shown not in (right if word == act.word else {before}):
                self._history.odd.append(f"{act} was {outcome} after {word}={before}, and the stack says {shown}")

    async def _state(self, artwork: str) -> dict[str, Any]:
        """How the person stands to an artwork, as soon as anybody says."""
        while True:
            answer = await self._ask("GET", f"/api/artworks/{artwork}/state")
            if answer is not None and answer.is_success:
                return dict(answer.json()["data"])
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, method: str, path: str) -> httpx.Response | None:
        """An answer, unless there is none or it is that of somebody who could not reach the stack's inside."""
        try:
            answer = await self._http.request(method, path, headers=self._headers)
        except httpx.HTTPError:
            return None
        return answer if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR else None


def acts(seed: str, person: str, artworks: Sequence[str]) -> Iterator[Act]:
    """What a person does, one after the other and without end; always the same for a seed."""
    dice, words = random.Random(f"{seed}/{person}"), tuple(WORDS)
    while True:
        yield Act(person, dice.choice(artworks), dice.choice(words), dice.random() < 0.5)
