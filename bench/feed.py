"""What a page of the community costs among a thousand artworks and among a million, on SQLite, interleaved.

Everything grows alike: one artwork a minute until now, and each of ten people has made, likes and has collected their
part. A page is of twenty cards, each with its author, its order and what the viewer thinks of it.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import insert, text

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.chassis.clock import now_ms
from services.chassis.database import Database, Transaction, open_database
from services.chassis.migrations import migrate
from services.chassis.signing_keys import PurposeKeys
from services.community.core.feed import Feed, PageRequest
from services.community.core.users import Users
from services.community.model import Shelf
from services.community.model.hotness import Category, decayed_score
from services.community.settings import CommunitySettings
from services.community.stores import make_stores
from services.community.stores.read_models import RedisModels
from services.community.stores.rows import heat_columns
from services.community.stores.tables import artwork, artwork_favorite, artwork_like, artwork_order, person

FEW, MANY = 1_000, 1_000_000
ROUNDS, CALLS = 20, 25
BATCH = 50_000  # rows of one statement's worth of memory
PEOPLE, OWNER, VIEWER = 10, "user_0", "user_1"
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
BOUND = 1.2  # what the issue allows
Read = Callable[[], Awaitable[object]]
Rows = list[dict[str, object]]


def main() -> None:
    """Make two databases and compare them."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(empty(Path(folder) / "few"), empty(Path(folder) / "many")))


def empty(folder: Path) -> CommunitySettings:
    """An empty database."""
    folder.mkdir()
    settings = CommunitySettings(database_url="", data_dir=folder, _env_file=None)
    migrate("community", settings)
    return settings


async def measure(few: CommunitySettings, many: CommunitySettings) -> None:
    """Fill both and compare them."""
    async with filled(few, FEW) as small, filled(many, MANY) as big:
        await compare(await reads(small), await reads(big))


@asynccontextmanager
async def filled(settings: CommunitySettings, number: int) -> AsyncIterator[Database]:
    """A database with so many published artworks."""
    async with open_database(settings, "community") as database:
        await write(database, number)
        yield database


async def write(database: Database, number: int) -> None:
    """Write the rows straight into the tables."""
    await database.write(insert_rows, number, now_ms() - number * MINUTE_MS)


def insert_rows(transaction: Transaction, number: int, start: int) -> None:
    """Insert the people, and all artworks with their orders and reactions."""
    transaction.execute(insert(person), [person_row(n, start) for n in range(PEOPLE)])
    for begin in range(0, number, BATCH):
        numbers = range(begin, min(begin + BATCH, number))
        transaction.execute(insert(artwork), [artwork_row(n, start) for n in numbers])
        transaction.execute(insert(artwork_order), [order_row(n, start) for n in numbers])
        for relation in (artwork_like, artwork_favorite):
            transaction.execute(insert(relation), [reaction_row(n, start) for n in numbers if n % 2])
    transaction.execute(text("ANALYZE"))


def person_row(number: int, start: int) -> dict[str, object]:
    """A person."""
    empty = {"email": "", "picture_uri": "", "hide_name": False, "hide_email": False}
    return {"id": f"user_{number}", "display_name": f"No. {number}", "create_ms": start, "update_ms": start, **empty}


def artwork_row(number: int, start: int) -> dict[str, object]:
    """A published artwork, with the score that its counts and its age give it."""
    made, now = start + number * MINUTE_MS, now_ms()
    likes, favorites = (0, 0) if now - made < HOUR_MS else (number * 7919 % 61, number * 104_729 % 31)
    decayed = decayed_score(likes, favorites, made, now)
    times = {"create_ms": made, "update_ms": made, "publish_ms": made}
    asked = {"prompt": "a cat in the rain " * 5, "model": "flux-kontext-pro", "aspect_ratio": "1:1"}
    return {
        "id": f"art_{number:08}",
        "user_id": f"user_{number % PEOPLE}",
        "state": "PUBLISHED",
        "title": f"A cat, No. {number}",
        "slug": f"a-cat-{number}",
        "object_key": f"generated/{number:08}/0.png",
        "output_format": "png",
        "image_refs": "[]",
        "like_count": likes,
        "favorite_count": favorites,
        "hidden": "SHOWN",
        "listed": True,
        "order_id": f"ord_{number:08}",
        "request_key": None,
        **heat_columns(decayed),
        **asked,
        **times,
    }


def order_row(number: int, start: int) -> dict[str, object]:
    """The order that the artwork came from."""
    ended = {"state": "SUCCEEDED", "hold": "NONE", "reason": "", "message": "", "cost": 0, "tries": 0}
    times = {"create_ms": start, "complete_ms": start, "due_ms": 10**15}
    names = {"id": f"ord_{number:08}", "artwork_id": f"art_{number:08}", "user_id": f"user_{number % PEOPLE}"}
    upstream = {"generation_id": f"gen_{number:08}", "task_id": f"task_{number:08}"}
    return {
        "request": '{"prompt": "a cat", "model": "flux-kontext-pro", "image_refs": []}',
        **names,
        **upstream,
        **ended,
        **times,
    }


def reaction_row(number: int, start: int) -> dict[str, object]:
    """Somebody's like or favourite of an artwork."""
    who = f"user_{number // 2 % PEOPLE}"
    return {"user_id": who, "artwork_id": f"art_{number:08}", "create_ms": start + number * MINUTE_MS}


async def reads(database: Database) -> dict[str, Read]:
    """What is measured, straight on the rows: a read model would hide what they cost."""
    stores = make_stores(database, RedisModels(None, time.monotonic), now_ms, 0, PurposeKeys(b"erasure key"))
    feed = Feed(database, stores.lists, stores.artworks, now_ms)
    users = Users(database, stores.users, stores.lists)
    newest = await feed.newest(PageRequest(VIEWER))
    hot = await feed.hottest(PageRequest(VIEWER))
    ids = [card.artwork.id for card in newest.cards]
    return {
        "feed, newest": lambda: feed.newest(PageRequest(VIEWER)),
        "feed, its second page": lambda: feed.newest(PageRequest(VIEWER, page_token=newest.next_token)),
        "feed, hottest": lambda: feed.hottest(PageRequest(VIEWER)),
        "feed, hottest, second page": lambda: feed.hottest(PageRequest(VIEWER, page_token=hot.next_token)),
        "feed, newest, a stranger": lambda: feed.newest(PageRequest("")),
        "trending, of an hour that nobody liked": lambda: feed.hottest(PageRequest(VIEWER), HOUR_MS),
        "trending, of six hours": lambda: feed.hottest(PageRequest(VIEWER), 6 * HOUR_MS),
        "trending, rising": lambda: feed.hottest(PageRequest(VIEWER), 0, Category.RISING),
        "a person's artworks": lambda: feed.of_user(PageRequest(VIEWER), OWNER),
        "my own artworks": lambda: feed.of_user(PageRequest(OWNER), OWNER),
        "my favourites": lambda: feed.of_shelf(PageRequest(OWNER), Shelf.FAVORITES, OWNER),
        "my likes": lambda: feed.of_shelf(PageRequest(OWNER), Shelf.LIKES, OWNER),
        "states of a page": lambda: feed.states(VIEWER, ids),
        "hotness of one": lambda: feed.hotness(VIEWER, ids[0]),
        "a profile": lambda: users.get(OWNER),
    }


async def compare(few: dict[str, Read], many: dict[str, Read]) -> None:
    """A B A B …: milliseconds of a call, the median of the rounds."""
    print(f"| page | {FEW:,} ms | {MANY:,} ms | ratio | within {BOUND} |\n|---|---|---|---|---|")
    for name, read in few.items():
        rows = [(await took(read), await took(many[name])) for _ in range(ROUNDS)]
        one, other = (statistics.median(column) for column in zip(*rows, strict=True))
        ratio = statistics.median(big / small for small, big in rows)
        print(f"| {name} | {one:.2f} | {other:.2f} | {ratio:.2f} | {'yes' if ratio <= BOUND else 'no'} |", flush=True)


async def took(read: Read) -> float:
    """Milliseconds of one call, on average over a few."""
    start = time.perf_counter()
    for _ in range(CALLS):
        await read()
    return (time.perf_counter() - start) / CALLS * 1000


if __name__ == "__main__":
    main()
