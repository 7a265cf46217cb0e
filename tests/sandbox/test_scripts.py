"""The script language."""

import pytest

from services.sandbox.model import Step
from services.sandbox.refusals import REFUSALS, RefusalError
from services.sandbox.scripts import REPLY_WORDS, TASK_WORDS, parse, steps_of


@pytest.mark.parametrize(
    ("prompt", "steps"),
    [
        ("a cat sim:429 then ok", ("429", "ok")),
        ("[[sim:stuck]] a cat", ("stuck",)),
        ("[[sim:402 then 402 then ok,slow:2]]", ("402", "402", "ok,slow:2")),
        ("sim:ok and then some", ("ok",)),
        ("maxim: a cat", ()),
        ("a sim: game", ()),
        ("a plain cat", ()),
    ],
)
def test_a_prompt_may_carry_a_script(prompt: str, steps: tuple[str, ...]) -> None:
    assert steps_of(prompt) == steps


def test_words_of_one_step_combine() -> None:
    step = parse("hang-after:0.5,slow:20,nocallback,badsig")

    assert step.hang_after == 0.5
    assert step.life.slow_ms == 20_000
    assert step.life.silent
    assert step.life.signature == "bad"


def test_a_url_may_be_an_argument() -> None:
    assert parse("redirect-result:http://127.0.0.1:9/x").life.redirect == "http://127.0.0.1:9/x"


@pytest.mark.parametrize("word", [*REFUSALS, *(word for word in REPLY_WORDS if word != "ok"), *TASK_WORDS])
def test_every_word_changes_something(word: str) -> None:
    step = parse(f"{word}:2")

    assert step != Step(text=f"{word}:2")


@pytest.mark.parametrize("text", ["sleepy", "slow:soon", "ok,nonsense", "", "read-nothing:2"])
def test_an_unknown_word_or_a_missing_number_is_refused(text: str) -> None:
    with pytest.raises(RefusalError, match="sandbox:"):
        parse(text)
