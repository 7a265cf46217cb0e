"""`kawaii counters`, `cache`, `artworks` and `reports` as an operator types them: what they print, and exit codes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from services.chassis.database import Transaction, open_database
from services.community.model import Artwork, State
from services.community.stores.rows import artwork_row
from services.community.stores.tables import artwork, artwork_like, person, report
from tests.deploy.stacks import Stack, opened

ARTWORK, ANN = "art_1", "user_ann"
EMPTY = {"email": "", "picture_uri": "", "hide_name": False, "hide_email": False, "create_ms": 1, "update_ms": 1}
NO_SUCH = "Error: There is no such artwork. It may have been deleted.\n"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """A community of one published artwork that says three likes and has one."""
    async with opened(tmp_path / "data", ("community",)) as stack:
        await fill(stack)
        yield stack


async def fill(stack: Stack) -> None:
    shown = Artwork(ARTWORK, ANN, State.PUBLISHED, "Rude", "rude", create_ms=1, publish_ms=1, like_count=3)
    columns = {"artwork_id": ARTWORK, "user_id": ANN, "create_ms": 1_795_000_000_123}
    rows = (
        insert(person).values(id=ANN, display_name="Ann", **EMPTY),
        insert(artwork).values(artwork_row(shown) | {"listed": True}),
        insert(artwork_like).values(user_id=ANN, artwork_id=ARTWORK, create_ms=1),
        insert(report).values(reason="not \x1b[31mnice", **columns),
    )
    async with open_database(stack.settings, "community") as database:
        for row in rows:
            await database.write(Transaction.execute, row)


async def likes(stack: Stack) -> int:
    async with open_database(stack.settings, "community") as database:
        return int(await database.read(Transaction.scalar, select(artwork.c.like_count)) or 0)


async def test_reconcile_looks_first_and_mends_when_told(stack: Stack) -> None:
    looked = await stack.kawaii("counters", "reconcile", "--dry-run")
    untouched = await likes(stack)
    mended = await stack.kawaii("counters", "reconcile")
    again = await stack.kawaii("counters", "reconcile", "--dry-run")

    assert (looked.code, looked.out) == (0, "1 artworks, drift 2\nartworks/art_1\n")
    assert untouched == 3
    assert (mended.out, await likes(stack)) == ("1 artworks, drift 2\nartworks/art_1\n", 1)
    assert (again.code, again.out) == (0, "1 artworks, drift 0\n")


async def test_json_holds_every_field_by_its_proto_name(stack: Stack) -> None:
    output = await stack.kawaii("counters", "reconcile", "--dry-run", "-o", "json")
    rebuilt = await stack.kawaii("cache", "rebuild", "-o", "json")

    assert json.loads(output.out) == {"artworkCount": "1", "drift": "2", "artworks": ["artworks/art_1"]}
    assert json.loads(rebuilt.out) == {"keyCount": "0"}


async def test_reports_are_a_table_whose_words_do_not_steer_the_terminal(stack: Stack) -> None:
    output = await stack.kawaii("reports", "list")

    assert output.code == 0
    assert output.out.splitlines() == [
        "ARTWORK         REPORTED BY  HIDDEN  WHEN                  REASON",
        "artworks/art_1  user_ann     -       2026-11-18T11:06:40Z  not �[31mnice",
    ]


async def test_an_artwork_is_hidden_and_shown_again(stack: Stack) -> None:
    hidden = await stack.kawaii("artworks", "hide", ARTWORK)
    listed = await stack.kawaii("reports", "list")
    shown = await stack.kawaii("artworks", "unhide", f"artworks/{ARTWORK}")

    assert (hidden.code, hidden.out) == (0, "artworks/art_1: hidden, Rude\n")
    assert "yes" in listed.out
    assert (shown.code, shown.out) == (0, "artworks/art_1: shown, Rude\n")


@pytest.mark.parametrize("verb", ["hide", "unhide"])
async def test_a_refusal_is_one_sentence_and_exit_1(stack: Stack, verb: str) -> None:
    output = await stack.kawaii("artworks", verb, "art_none", "-o", "json")

    assert (output.code, output.out, output.err) == (1, "", NO_SUCH)


WORDS = [("counters", "reconcile"), ("cache", "rebuild"), ("artworks", "hide", ARTWORK), ("reports", "list")]


@pytest.mark.parametrize("words", WORDS)
async def test_no_stack_is_exit_1_and_says_what_helps(tmp_path: Path, base: int, words: tuple[str, ...]) -> None:
    output = await Stack(tmp_path, base).kawaii(*words)

    assert (output.code, output.out) == (1, "")
    assert output.err.startswith(f"Error: No stack answers at 127.0.0.1:{base + 4}.")


@pytest.mark.parametrize("words", [("artworks", "hide"), ("counters", "reconcile", "-o", "xml"), ("cache",)])
async def test_a_mistyped_command_is_exit_2(tmp_path: Path, base: int, words: tuple[str, ...]) -> None:
    assert (await Stack(tmp_path, base).kawaii(*words)).code == 2


async def test_a_base_that_is_none_is_exit_2(tmp_path: Path) -> None:
    output = await Stack(tmp_path, 1).kawaii("counters", "reconcile")

    assert output.code == 2
    assert "INTERNAL_PORT_BASE" in output.err
