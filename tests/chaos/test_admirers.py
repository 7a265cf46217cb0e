"""The book of likes bites: answers that contradict what was written before are named, and lost ones are resolved."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import httpx
import pytest

from tests.chaos.admirers import Act, Admirer, History, Outcome, acts

LIKE = Act("ann", "art_1", "like", wanted=True)
Answer = httpx.Response | httpx.HTTPError


def stands(*, liked: bool, faved: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"data": {"user_state": {"liked": liked, "faved": faved}}})


async def acted(history: History, *answers: Answer) -> None:
    """Like once, at a stack that gives these answers one after the other."""
    given: Iterator[Answer] = iter(answers)

    def answer(_request: httpx.Request) -> httpx.Response:
        match next(given):
            case httpx.Response() as response:
                return response
            case error:
                raise error

    transport: Any = httpx.MockTransport(answer)
    async with httpx.AsyncClient(base_url="http://stack", transport=transport) as http:
        await Admirer(http, "ann", history).act(LIKE)


async def test_what_was_told_is_the_model() -> None:
    history = History()
    await acted(history, stands(liked=True))

    assert history.outcomes() == {Outcome.OK: 1}
    assert (history.counted("like"), history.counted("favorite"), history.odd) == ({"art_1": 1}, {}, [])


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("lost", [httpx.ReadError("gone"), httpx.Response(503)])
async def test_what_was_not_told_is_read(lost: Answer, *, done: bool) -> None:
    history = History()
    await acted(history, lost, httpx.ConnectError("still away"), stands(liked=done))

    assert history.outcomes() == {Outcome.UNKNOWN: 1}
    assert (history.stands("ann", "art_1", "like"), history.odd) == (done, [])


@pytest.mark.parametrize(
    "answers",
    [
        (stands(liked=False),),
        (stands(liked=True, faved=True),),
        (httpx.Response(404, json={}), stands(liked=False)),
        (httpx.ReadError("gone"), stands(liked=True, faved=True)),
    ],
    ids=["it was done and is not", "another reaction came by itself", "a refusal", "one came while nobody answered"],
)
async def test_a_contradiction_is_odd(answers: tuple[Answer, ...]) -> None:
    history = History()
    await acted(history, *answers)

    assert len(history.odd) == 1


def test_a_seed_brings_the_same_acts_back() -> None:
    first, again = (list(islice(acts("seed", "ann", ["art_1", "art_2"]), 20)) for _ in range(2))

    assert first == again
    assert {act.word for act in first} == {"like", "favorite"}
    assert {act.wanted for act in first} == {True, False}
