"""How the cost of finding stored objects grows from a thousand rows to a million, on SQLite and PostgreSQL."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.chassis.database import Database, Transaction, open_database
from services.chassis.migrations import migrate
from services.storage.model import Filter
from services.storage.settings import StorageSettings
from services.storage.stores.sql import SqlObjects
from tests.support.engines import EngineMissingError
from tests.support.postgres import postgres

SIZES = (1_000, 1_000_000)
REPEATS = 200
PAGE = 51  # a page of fifty and a look beyond
FIELDS = "key, content_type, size, sha256, source, generation_id, idx, original_name, source_uri, create_ms"
ROW = "'image/png', 1000, '{digest}', 'kie-download', 'gen_' || n, 0, '', 'https://a.example/' || n, n"
NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT {low} UNION ALL SELECT n + 1 FROM numbers WHERE n < {high})",
    "postgresql": "WITH numbers AS (SELECT generate_series({low}, {high}) AS n)",
}
Question = Callable[[Transaction, SqlObjects], object]
QUESTIONS: dict[str, Question] = {
    "newest page": lambda asked, store: store.list(asked, Filter(), None, PAGE),
    "page by a wide prefix": lambda asked, store: store.list(asked, Filter(prefix="generated/"), None, PAGE),
    "page by a narrow prefix": lambda asked, store: store.list(asked, Filter(prefix="generated/gen_500/"), None, PAGE),
    "find by generation": lambda asked, store: store.list(asked, Filter(generation_id="gen_500"), None, PAGE),
    "find by generation and index": lambda asked, store: store.of_generation(asked, "gen_500", 0),
    "find by key": lambda asked, store: store.get(asked, "generated/gen_500/0.png"),
}


async def fill(database: Database, engine: str, low: int, high: int) -> None:
    """Add rows from number low to high."""
    numbers = NUMBERS[engine].format(low=low, high=high)
    row = ROW.format(digest="0" * 64)
    select = f"SELECT 'generated/gen_' || n || '/0.png', {row} FROM numbers"  # noqa: S608 - our own constants
    insert = f"{numbers} INSERT INTO object ({FIELDS}) {select}" if engine == "sqlite" else ""
    rows = text(insert or f"INSERT INTO object ({FIELDS}) {numbers} {select}")
    await database.write(lambda transaction: transaction.execute(rows))
    if engine == "postgresql":  # as autovacuum does by itself, a minute later
        await database.write(lambda transaction: transaction.execute(text("ANALYZE object")))


async def milliseconds(database: Database, question: Question) -> float:
    """The median time of an answer."""
    store, times = SqlObjects(), []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        await database.read(question, store)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


async def measure(settings: StorageSettings, engine: str) -> list[dict[str, float]]:
    """The times of every question at each size."""
    found, low = [], 1
    async with open_database(settings, "storage") as database:
        for size in SIZES:
            await fill(database, engine, low, size)
            low = size + 1
            found.append({name: await milliseconds(database, question) for name, question in QUESTIONS.items()})
    return found


def report(engine: str, database_url: str = "") -> None:
    """One engine's table."""
    with tempfile.TemporaryDirectory() as folder:
        settings = StorageSettings(data_dir=Path(folder), database_url=database_url, _env_file=None)
        migrate("storage", settings)
        small, large = asyncio.run(measure(settings, engine))
    print(f"\n{engine:32}{'1,000 rows, ms':>16}{'1,000,000, ms':>16}{'ratio':>8}")
    for name in QUESTIONS:
        print(f"{name:32}{small[name]:16.2f}{large[name]:16.2f}{large[name] / small[name]:8.2f}")


def main() -> None:
    """Both tables."""
    report("sqlite")
    try:
        with postgres() as server:
            report("postgresql", server.create_database())
    except EngineMissingError as missing:
        print(f"\npostgresql: {missing}")


if __name__ == "__main__":
    main()
