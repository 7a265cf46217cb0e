"""What a provider says of an order is kept and shown; what it quotes of the prompt is not."""

import pytest
from sqlalchemy import select

from services.generation.answers import (
    Accepted,
    Ambiguous,
    Broken,
    Drawing,
    NotSent,
    Outcome,
    Record,
    Refused,
    Rejected,
)
from services.generation.core.discretion import CUT, discreet, without
from services.generation.model import Draft, State
from services.generation.stores.tables import attempt, generation, outbox
from tests.generation.town import Town, answering

SECRET = "a portrait of my neighbour at 12 Elm Street"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"Prompt '{SECRET}' was flagged.", f"Prompt '{CUT}' was flagged."),
        (f"{SECRET}: {SECRET}", f"{CUT}: {CUT}"),
        (f"The text is too long: {SECRET[:20]}", f"The text is too long: {CUT}"),
        ("The prompt was flagged.", "The prompt was flagged."),
        ("Only a portrait", "Only a portrait"),
        ("", ""),
    ],
)
def test_a_prompt_is_cut_out_of_a_message(text: str, told: str) -> None:
    assert without(text, f" {SECRET}\n") == told


def test_a_prompt_of_a_letter_leaves_words_whole() -> None:
    assert without("a prompt", "a") == "a prompt"


@pytest.mark.parametrize(
    "answer",
    [Refused(429, SECRET), Rejected(400, SECRET), Broken(400, SECRET), Ambiguous(f"code 500: {SECRET}")],
)
def test_every_answer_with_words_is_discreet(answer: Outcome | Record) -> None:
    assert SECRET not in repr(discreet(answer, SECRET))


@pytest.mark.parametrize("answer", [Accepted("task1"), NotSent("ConnectError"), Drawing(5)])
def test_an_answer_without_words_stays_as_it_is(answer: Outcome | Record) -> None:
    assert discreet(answer, SECRET) == answer


@pytest.mark.parametrize("answer", [Rejected(400, f"flagged: {SECRET}"), Accepted("task1")])
async def test_no_row_and_no_line_quotes_the_prompt(
    town: Town, answer: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    town.provider.scripts.append(answering(answer))
    town.provider.records["task1"] = Broken(400, f"flagged: {SECRET}")
    created = await town.order(draft=Draft("gpt4o-image", SECRET))
    await town.submit()
    await town.poll()
    ended = await town.store.get(created.id)

    assert ended.state is State.FAILED
    assert ended.failure
    assert ended.failure.message == f"flagged: {CUT}"
    async with town.database.read() as connection:
        rows = [
            *await connection.scalars(select(attempt.c.detail)),
            *await connection.scalars(select(outbox.c.snapshot)),
            *await connection.scalars(select(generation.c.message)),
        ]
    told = capsys.readouterr()
    assert SECRET not in "".join(rows) + told.out + told.err
