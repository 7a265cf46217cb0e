"""What people write survives in every script, and what would deceive a reader does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.chassis.text import BIDI_CONTROLS, cut, one_line, words
from tests.scripts import NAMES

anything = some.text(some.characters(exclude_categories=()), max_size=80)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_of_any_script_is_kept_as_it_is(name: str) -> None:
    assert one_line(name) == name


@pytest.mark.parametrize("script", [script for script in NAMES if script != "emoji"])
def test_words_of_any_script_are_whole(script: str) -> None:
    assert list(words(NAMES[script], inside="-'")) == NAMES[script].split()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("山田\u3000太郎", "山田 太郎"),
        ("  a \t\n b\u00a0c ", "a b c"),
        ("A\0nn\ud800", "Ann"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("a \u200e b", "a b"),
        ("\u200f\u2066", ""),
    ],
)
def test_spaces_become_one_and_what_deceives_goes(text: str, line: str) -> None:
    assert one_line(text) == line


@given(text=anything)
def test_a_line_is_a_line_and_stays_one(text: str) -> None:
    line = one_line(text)

    assert one_line(line) == line
    assert line.encode().decode() == line
    assert not BIDI_CONTROLS & set(line)
    assert line.splitlines() in ([], [line])


@pytest.mark.parametrize(
    ("text", "length", "left"),
    [("हिन्दी", 5, "हिन्दी"[:2]), ("👩‍🎨!", 2, "👩‍🎨"[:2]), ("né", 2, "né"), ("ne\u0301", 2, "n"), ("abc", 2, "ab")],
)
def test_a_cut_never_tears_a_character(text: str, length: int, left: str) -> None:
    assert cut(text, length) == left


@given(text=anything, length=some.integers(1, 90))
def test_a_cut_is_the_beginning_and_no_longer(text: str, length: int) -> None:
    assert len(cut(text, length)) <= length
    assert text.startswith(cut(text, length))


def test_a_mark_behind_an_emoji_is_no_word() -> None:
    assert list(words("\N{WAVING WHITE FLAG}\ufe0f\u200d\N{RAINBOW} flag")) == ["flag"]
