"""Ids sort and never repeat; names that could climb out of their folder are refused."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.names import (
    ALPHABET,
    MAX_KEY_LENGTH,
    RANDOM_DIGITS,
    encode,
    host_of,
    is_new_id,
    name,
    new_id,
    parse_id,
    parse_key,
)

SEGMENT = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}", fullmatch=True)


def test_ids_never_repeat() -> None:
    assert len({new_id("gen") for _ in range(5000)}) == 5000


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = [new_id("gen")[:-RANDOM_DIGITS] for _ in range(5000)]

    assert made == sorted(made)


def test_an_id_is_a_valid_segment_of_a_name() -> None:
    made = new_id("gen")

    assert made.startswith("gen_")
    assert parse_id("generations", name("generations", made)) == made


@given(st.lists(st.integers(min_value=0, max_value=2**50 - 1), min_size=2))
def test_encoded_numbers_sort_as_they_count(numbers: list[int]) -> None:
    assert sorted(numbers) == sorted(numbers, key=lambda number: encode(number, 10))


@given(st.integers(min_value=0, max_value=2**80 - 1))
def test_encoding_loses_nothing(number: int) -> None:
    digits = encode(number, 16)

    assert sum(ALPHABET.index(digit) << 5 * place for place, digit in enumerate(reversed(digits))) == number


def test_an_empty_id_has_an_empty_name() -> None:
    assert name("objects", "") == ""


@given(SEGMENT)
def test_a_name_gives_its_id_back(identifier: str) -> None:
    assert parse_id("shares", name("shares", identifier)) == identifier


@given(st.lists(SEGMENT, min_size=1, max_size=5).map("/".join))
def test_an_object_name_gives_its_key_back(key: str) -> None:
    assert parse_key(name("objects", key)) == key


TRAVERSALS = [
    "",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a//b",
    "/a",
    "a/",
    "a\\b",
    "a%2f..",
    "a\x00",
    "a\n",
    "a b",
    ".hidden",
    "a/.hidden",
    "~root",
    "é",
    "-rf",
    "C:\\x",
]


@pytest.mark.parametrize("key", TRAVERSALS)
def test_a_key_that_is_not_clean_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_key(f"objects/{key}")

    assert caught.value.metadata == {"field": "name"}


@pytest.mark.parametrize("identifier", [*TRAVERSALS, "a/b", "x" * 129])
def test_an_id_that_is_not_clean_is_refused(identifier: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_id("generations", f"generations/{identifier}")


@pytest.mark.parametrize("resource", ["gen_1", "shares/gen_1", "generations", "/gen_1", "generations gen_1", ""])
def test_a_name_of_another_collection_is_refused(resource: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_id("generations", resource)


def test_a_key_that_is_too_long_is_refused() -> None:
    assert parse_key(f"objects/{'k' * MAX_KEY_LENGTH}") == "k" * MAX_KEY_LENGTH

    with pytest.raises(InvalidArgument):
        parse_key(f"objects/{'k' * (MAX_KEY_LENGTH + 1)}")


@given(st.text(alphabet=string.printable + "é\x00\u202e"))
def test_no_key_that_is_taken_climbs(text: str) -> None:
    try:
        key = parse_key(f"objects/{text}")
    except InvalidArgument:
        return

    assert all(segment and not segment.startswith(".") for segment in key.split("/"))
    assert "\\" not in key
    assert "\x00" not in key


@given(st.text())
def test_the_host_of_anything_can_be_asked(text: str) -> None:
    assert isinstance(host_of(text), str)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("https://Example.org:8443/a?b#c", "example.org"),
        ("http://[::1]:80/", "::1"),
        ("http://[::1", ""),
        ("http://[v1.x]/", "v1.x"),
        ("ftp://example.org/", ""),
        ("//example.org/", ""),
        ("data:image/png;base64,AA", ""),
        ("https:///path", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_web_address(uri: str, host: str) -> None:
    assert host_of(uri) == host


@pytest.mark.parametrize(
    "text", ["gen_1", "gen_", "task-1", "share_01jxv3k8q4aaaaaaaaaaaaaaaa", "gen_01JXV3K8Q4AAAAAAAAAAAAAAAA"]
)
def test_an_id_of_ours_is_told_from_those_of_others(text: str) -> None:
    assert is_new_id("gen", new_id("gen"))
    assert not is_new_id("gen", text)
