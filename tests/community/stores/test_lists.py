"""A page of what is trending examines about as many rows as it shows, however many there are and whoever likes them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import event, text

from services.chassis.database import Database, Transaction
from services.community.composition import CommunityService
from services.community.core.feed import PageRequest
from services.community.model import Reaction
from services.community.model.hotness import DAY_MS, Category
from services.community.stores import Stores
from tests.community.steps import BOB, published
from tests.community.stubs import Clock

OLD, NEW = 12_000, 6_000  # older and more liked ones, and more in the window than anybody would sort
MOST_ROWS = 100  # examined for a page of 20; forty-three are, at the time of writing
MOST_STEPS = 10_000  # of SQLite's machine for such a page; 4,100 are taken, and five for a row that is passed over
NUMBERS = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count}) "
OWN = {
    "id": "'art_{name}_' || CAST(n AS VARCHAR)",
    "slug": "'{name}-' || CAST(n AS VARCHAR)",
    "hot_score": "{score} + n / 1000.0",
    "request_key": "NULL",
    "publish_ms": "publish_ms + n",
}


async def copy(database: Database, title: str, count: int, score: float) -> None:
    """Copy an artwork so many times, each hotter and later by a little."""

    def copied(transaction: Transaction) -> None:
        columns = list(transaction.execute(text("SELECT * FROM artwork LIMIT 1")).keys())
        values = [OWN.get(name, name).format(name=title, score=score) for name in columns]
        head = f"INSERT INTO artwork ({', '.join(columns)}) "
        numbers, rows = (
            NUMBERS.format(count=count),
            f"SELECT {', '.join(values)} FROM artwork, number WHERE title = :title",  # noqa: S608 - our own names
        )
        transaction.execute(text(head + numbers + rows), {"title": title})

    await database.write(copied)


@pytest.fixture
async def quiet_week(community: CommunityService, database: Database, clock: Clock) -> None:
    """Very many old artworks that were liked, and many of this week that nobody liked so well."""
    await published(community, title="old")
    clock.now += 20 * DAY_MS
    await community.score_decay.decay_due()
    await copy(database, "old", OLD, 1000)
    await published(community, title="new")
    clock.now += 2 * DAY_MS
    await community.score_decay.decay_due()
    await copy(database, "new", NEW, 30)
    await database.write(lambda transaction: transaction.execute(text("ANALYZE")))


@asynccontextmanager
async def asked(database: Database) -> AsyncIterator[list[tuple[str, Any]]]:
    """The SELECTs that are sent meanwhile, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def apply(*given: Any) -> None:
        if given[2].startswith("SELECT"):
            sent.append(given[2:4])

    event.listen(database.engine, "before_cursor_execute", apply)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", apply)


async def examined(database: Database, selects: list[tuple[str, Any]]) -> int:
    """How many rows PostgreSQL looks at for them; of SQLite the steps of its machine, which are counted alike."""
    cost = steps if database.is_sqlite else planned
    return await database.read(lambda transaction: sum(cost(transaction, *each) for each in selects))


def planned(transaction: Transaction, statement: str, parameters: Any) -> int:
    plan = transaction.connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
    found = plan.scalar_one()
    return rows((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])


def steps(transaction: Transaction, statement: str, parameters: Any) -> int:
    driver: Any = transaction.connection.connection.driver_connection
    count = [0]

    def step() -> int:
        count[0] += 1
        return 0

    driver.set_progress_handler(step, 1)
    driver.execute(statement, parameters).fetchall()
    driver.set_progress_handler(None, 1)
    return count[0]


def rows(node: dict[str, Any]) -> int:
    """The rows that a plan's scans read, those included that a filter threw away."""
    own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) if "Scan" in node["Node Type"] else 0
    return int(own * node["Actual Loops"]) + sum(map(rows, node.get("Plans", ())))


@pytest.mark.usefixtures("quiet_week")
@pytest.mark.parametrize("category", [Category.ALL, Category.RISING])
async def test_a_quiet_week_is_not_sought_through_what_was_liked_before(
    community: CommunityService, database: Database, category: Category
) -> None:
    shown, token = list[str](), ""
    async with asked(database) as selects:
        for _ in range(3):
            page = await community.feed.hottest(PageRequest("", 20, token), 7 * DAY_MS, category)
            shown, token = shown + [card.artwork.id for card in page.cards], page.next_token
    looked_at = await examined(database, selects)

    assert shown == [f"art_new_{number}" for number in range(NEW, NEW - 60, -1)]
    assert len(selects) == 3
    assert looked_at < 3 * (MOST_STEPS if database.engine.dialect.name == "sqlite" else MOST_ROWS)


async def test_a_rank_counts_the_hotter_ones_up_to_a_bound(
    community: CommunityService, stores: Stores, database: Database
) -> None:
    for title in "ab":
        artwork_id = (await published(community, title=title)).artwork.id
        await community.reactions.react(BOB, artwork_id, Reaction.LIKE, wanted=True)
    await published(community, title="c")

    assert [await database.read(stores.artworks.rank, score, 10) for score in (1, 0, -1)] == [0, 2, 3]
    assert await database.read(stores.artworks.rank, -1, 2) == 2
