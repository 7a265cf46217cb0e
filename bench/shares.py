"""What a page costs among a thousand shares and among a million, on SQLite and on PostgreSQL, interleaved."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.chassis.cache import LocalCache
from services.chassis.clock import now_ms
from services.chassis.database import Database, open_database
from services.chassis.migrations import migrate
from services.chassis.public_files import PublicFiles
from services.share.core.cached import LATEST_SIZE, CachedShares, CacheLifetimes
from services.share.core.shares import Shares
from services.share.core.validation import MAX_SKIP
from services.share.model import NewShare, Policy, Query, View
from services.share.settings import ShareSettings
from services.share.stores.shares import SqlShares
from tests.share.bulk_shares import grow
from tests.support.engines import EngineMissingError
from tests.support.postgres import postgres

FEW, MANY = 1_000, 1_000_000
ROUNDS, CALLS = 20, 25
POLICY = Policy.TEXT_TO_IMAGE
FRESHNESS = CacheLifetimes(record=60, list=60, latest=600, stats=60)  # the settings' defaults
Read = Callable[[], Awaitable[object]]


def main() -> None:
    """Print a table for each engine that is here."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as exits:
        run("SQLite", database(Path(folder) / "few"), database(Path(folder) / "many"))
        try:
            server = exits.enter_context(postgres())
        except EngineMissingError as missing:
            print(f"PostgreSQL is left out: {missing}")
            return
        urls = server.create_database(), server.create_database()
        run("PostgreSQL", *(database(Path(folder), url) for url in urls))


def database(folder: Path, url: str = "") -> ShareSettings:
    """An empty database."""
    folder.mkdir(exist_ok=True)
    settings = ShareSettings(database_url=url, data_dir=folder)
    migrate("share", settings)
    return settings


def run(engine: str, few: ShareSettings, many: ShareSettings) -> None:
    """Measure one engine."""
    asyncio.run(measure(engine, few, many))


async def measure(engine: str, few: ShareSettings, many: ShareSettings) -> None:
    """Fill both databases and compare them."""
    async with filled(few, FEW) as small, filled(many, MANY) as big:
        await compare(engine, await reads(small, FEW), await reads(big, MANY))


@asynccontextmanager
async def filled(settings: ShareSettings, number: int) -> AsyncIterator[Database]:
    """A database with so many shares."""
    async with open_database(settings, "share") as database:
        shares = service(database)
        await shares.create(NewShare("https://example.com/a.png", prompt="a cat " * 20, style="watercolor"))
        await grow(database, number)
        await database.write(lambda transaction: transaction.execute(text("ANALYZE")))
        yield database


def service(database: Database) -> Shares:
    """The shares as the service builds them."""
    cached = CachedShares(database, SqlShares(), LocalCache(), FRESHNESS, clock=now_ms, announce=unheard)
    return Shares(cached, POLICY, own_key=PublicFiles("https://example.org").key, clock=now_ms)


async def unheard(_notice: str) -> None:
    """Announce to nobody."""


async def reads(database: Database, number: int) -> dict[str, Read]:
    """What is measured."""
    shares, store = service(database), SqlShares()
    deep = await shares.list(Query(page_size=1, skip=min(number // 2, MAX_SKIP)))
    newest = deep.shares[0].id
    return {
        "first page": lambda: shares.list(Query()),
        "page in the middle": lambda: shares.list(Query(page_token=deep.next_token)),
        "page of a style": lambda: shares.list(Query(style="watercolor", page_token="")),
        "page by offset 500": lambda: shares.list(Query(skip=500)),
        "latest, not cached": lambda: database.read(store.latest, View(POLICY), LATEST_SIZE),
        "one share, not cached": lambda: database.read(store.find, newest),
        "sitemap's block count": lambda: shares.links(1_000_000),
    }


async def compare(engine: str, few: dict[str, Read], many: dict[str, Read]) -> None:
    """A B A B …: milliseconds of a call, the median of the rounds."""
    print(f"\n{engine:26}{f'{FEW:,} ms':>14}{f'{MANY:,} ms':>14}{'ratio':>8}")
    for name, read in few.items():
        rows = [(await took(read), await took(many[name])) for _ in range(ROUNDS)]
        one, other = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:26}{one:14.3f}{other:14.3f}{statistics.median(b / a for a, b in rows):7.2f}x")


async def took(read: Read) -> float:
    """Milliseconds of one call, on average over a few."""
    start = time.perf_counter()
    for _ in range(CALLS):
        await read()
    return (time.perf_counter() - start) / CALLS * 1000


if __name__ == "__main__":
    main()
