"""A provider's message about an order is stored and shown, without the prompt that it quotes."""

import pytest
from sqlalchemy import select

from services.generation.model import Draft, State
from services.generation.outcomes import (
    CUT,
    Accepted,
    Ambiguous,
    InProgress,
    NotSent,
    Outcome,
    Record,
    Refused,
    Rejected,
    TaskFailed,
    redacted,
    without_prompt,
)
from services.generation.stores.tables import attempt, generation, outbox
from tests.generation.harness import Harness, answering
from tests.support.sql import fetch_values

SECRET = "a portrait of my neighbour at 12 Elm Street"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Prompt '{SECRET}' was flagged.", f"Prompt '{CUT}' was flagged."),
        (f"{SECRET}: {SECRET}", f"{CUT}: {CUT}"),
        (f"The text is too long: {SECRET[:20]}", f"The text is too long: {CUT}"),
        ("The prompt was flagged.", "The prompt was flagged."),
        ("Only a portrait", "Only a portrait"),
        ("", ""),
    ],
)
def test_a_prompt_is_cut_out_of_a_message(text: str, expected: str) -> None:
    assert without_prompt(text, f" {SECRET}\n") == expected


def test_a_prompt_of_a_letter_leaves_words_whole() -> None:
    assert without_prompt("a prompt", "a") == "a prompt"


@pytest.mark.parametrize(
    "answer",
    [Refused(429, SECRET), Rejected(400, SECRET), TaskFailed(400, SECRET), Ambiguous(f"code 500: {SECRET}")],
)
def test_every_answer_with_a_message_is_redacted(answer: Outcome | Record) -> None:
    assert SECRET not in repr(redacted(answer, SECRET))


@pytest.mark.parametrize("answer", [Accepted("task1"), NotSent("ConnectError"), InProgress(5)])
def test_an_answer_without_words_stays_as_it_is(answer: Outcome | Record) -> None:
    assert redacted(answer, SECRET) == answer


@pytest.mark.parametrize("answer", [Rejected(400, f"flagged: {SECRET}"), Accepted("task1")])
async def test_no_row_and_no_line_quotes_the_prompt(
    harness: Harness, answer: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.provider.scripts.append(answering(answer))
    harness.provider.records["task1"] = TaskFailed(400, f"flagged: {SECRET}")
    created = await harness.order(draft=Draft("gpt4o-image", SECRET))
    await harness.submit()
    await harness.poll()
    ended = await harness.store.get(created.id)

    assert ended.state is State.FAILED
    assert ended.failure
    assert ended.failure.message == f"flagged: {CUT}"
    rows = [
        *await fetch_values(harness.database, select(attempt.c.detail)),
        *await fetch_values(harness.database, select(outbox.c.snapshot)),
        *await fetch_values(harness.database, select(generation.c.message)),
    ]
    output = capsys.readouterr()
    assert SECRET not in "".join(rows) + output.out + output.err
