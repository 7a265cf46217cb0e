"""The data layer as it was until 2026-11-30, to measure the present one against: every statement is awaited.

SQLite by aiosqlite, PostgreSQL by asyncpg, both through SQLAlchemy's async engine, and one lock for SQLite's writers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

OPTIONS: dict[str, Any] = {"pool_size": 5, "pool_timeout": 5.0, "hide_parameters": True}


class AwaitedDatabase:
    """Transactions whose statements are awaited."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end."""
        async with self._turn(), self.engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for reading only."""
        async with self.engine.connect() as connection:
            reader = await connection.execution_options(readonly=True)
            async with reader.begin():
                yield reader

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self.engine.dialect.name != "sqlite":
            yield
            return
        async with self._writing:
            yield


def awaited_sqlite(file: Path) -> AwaitedDatabase:
    """On a file of SQLite's."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}", **OPTIONS)
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return AwaitedDatabase(engine)


def awaited_postgresql(url: str) -> AwaitedDatabase:
    """On a server of PostgreSQL's."""
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"),
        **OPTIONS,
        pool_pre_ping=True,
        connect_args={"timeout": 5.0, "command_timeout": 30.0},
    )
    return AwaitedDatabase(engine)


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    readonly = connection.get_execution_options().get("readonly")
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
