"""The log of likes notes answers that contradict what was known, and lost answers are resolved by reading."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import httpx
import pytest

from tests.chaos.reaction_clients import Outcome, Reaction, ReactionClient, ReactionLog, reactions

LIKE = Reaction("ann", "art_1", "like", wanted=True)
Answer = httpx.Response | httpx.HTTPError


def present(*, liked: bool, faved: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"data": {"user_state": {"liked": liked, "faved": faved}}})


async def reacted(log: ReactionLog, *answers: Answer) -> None:
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
        await ReactionClient(http, "ann", log).send(LIKE)


async def test_an_answer_is_what_has_to_be_there() -> None:
    log = ReactionLog()
    await reacted(log, present(liked=True))

    assert log.outcomes() == {Outcome.OK: 1}
    assert (log.counted("like"), log.counted("favorite"), log.unexpected) == ({"art_1": 1}, {}, [])


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("lost", [httpx.ReadError("gone"), httpx.Response(503)])
async def test_after_a_lost_answer_the_state_is_read(lost: Answer, *, done: bool) -> None:
    log = ReactionLog()
    await reacted(log, lost, httpx.ConnectError("still away"), present(liked=done))

    assert log.outcomes() == {Outcome.UNKNOWN: 1}
    assert (log.present("ann", "art_1", "like"), log.unexpected) == (done, [])


@pytest.mark.parametrize(
    "answers",
    [
        (present(liked=False),),
        (present(liked=True, faved=True),),
        (httpx.Response(404, json={}), present(liked=False)),
        (httpx.ReadError("gone"), present(liked=True, faved=True)),
    ],
    ids=["it was done and is not", "another reaction came by itself", "a refusal", "one came while nobody answered"],
)
async def test_a_contradiction_is_noted(answers: tuple[Answer, ...]) -> None:
    log = ReactionLog()
    await reacted(log, *answers)

    assert len(log.unexpected) == 1


def test_a_seed_brings_the_same_reactions_back() -> None:
    first, again = (list(islice(reactions("seed", "ann", ["art_1", "art_2"]), 20)) for _ in range(2))

    assert first == again
    assert {reaction.kind for reaction in first} == {"like", "favorite"}
    assert {reaction.wanted for reaction in first} == {True, False}
