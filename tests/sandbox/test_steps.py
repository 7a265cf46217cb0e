"""The language of bad days."""

import pytest

from services.sandbox.model import RefusalError, Step
from services.sandbox.refusals import REFUSALS
from services.sandbox.steps import CREATE, LIFE, parse, script_of


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
    assert script_of(prompt) == steps


def test_words_of_one_step_combine() -> None:
    step = parse("hang-after:0.5,slow:20,nocallback,badsig")

    assert step.hang_after == 0.5
    assert step.life.slow_ms == 20_000
    assert step.life.silent
    assert step.life.signature == "bad"


def test_a_url_may_be_an_argument() -> None:
    assert parse("redirect-result:http://127.0.0.1:9/x").life.redirect == "http://127.0.0.1:9/x"


@pytest.mark.parametrize("word", [*REFUSALS, *(word for word in CREATE if word != "ok"), *LIFE])
def test_every_word_changes_something(word: str) -> None:
    step = parse(f"{word}:2")

    assert step != Step(text=f"{word}:2")


@pytest.mark.parametrize("text", ["sleepy", "slow:soon", "ok,nonsense", "", "read-nothing:2"])
def test_a_script_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(RefusalError, match="sandbox:"):
        parse(text)
