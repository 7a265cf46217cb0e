"""A PostgreSQL that goes away at any moment and comes back: refusals in our words, nothing by halves, no restart."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis import database as database_module
from services.chassis.database import Database, Transaction, connect_database, notifications, postgresql
from services.chassis.errors import Unavailable
from services.chassis.notifier import Notifier
from services.chassis.settings import CommonSettings
from tests.support.postgres import Postgres

CHUNK_BYTES = 65_536
CEILING_SECONDS = 25.0  # below the 30 s that a statement may take
CONNECT_SECONDS = 0.5  # so that a handshake that hangs is soon given up

Outage = Callable[["Network"], AbstractAsyncContextManager[None]]


class Network:
    """What lies between us and the server: relays connections, or is cut in several ways."""

    def __init__(self, upstream: int) -> None:
        self.silent = False
        """Connections are accepted, and nothing is ever said."""
        self.frozen = False
        """Nothing passes any more on connections that are open."""
        self.loses_the_next_reply_to_commit = False
        self.port = 0
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse connections, and drop those that are open."""
        if self._server is not None:
            self._server.close()
        self.drop()

    def drop(self) -> None:
        """Reset every connection."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        if self.silent:
            return
        with suppress(OSError):
            answers, server = await asyncio.open_connection("127.0.0.1", self._upstream)
            self._open.add(server)
            back = asyncio.create_task(self._copy(answers, writer))
            while (data := await reader.read(CHUNK_BYTES)) and not self.frozen:
                if b"COMMIT" in data and self.loses_the_next_reply_to_commit:
                    self.loses_the_next_reply_to_commit = False
                    back.cancel()
                    server.write(data)
                    await answers.read(CHUNK_BYTES)
                    self.drop()
                    return
                server.write(data)
            if not self.frozen:
                server.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
            writer.close()


def keep(transaction: Transaction) -> None:
    transaction.execute(text("INSERT INTO item VALUES (1)"))


def count(transaction: Transaction) -> int:
    return int(transaction.scalar(text("SELECT count(*) FROM item")) or 0)


@pytest.fixture
async def network(postgres_server: Postgres) -> AsyncIterator[Network]:
    between = Network(postgres_server.port)
    await between.up()
    yield between
    await between.down()


@pytest.fixture
async def database(
    postgres_server: Postgres, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", CONNECT_SECONDS)
    monkeypatch.setattr(database_module, "CONNECT_SECONDS", CONNECT_SECONDS)
    url = postgres_server.create_database().replace(f":{postgres_server.port}/", f":{network.port}/")
    settings = CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    async with connect_database(settings, "public") as opened:
        await opened.write(lambda each: each.execute(text("CREATE TABLE item (id INTEGER)")) and None)
        yield opened


@asynccontextmanager
async def refusing(network: Network) -> AsyncIterator[None]:
    await network.down()
    yield
    await network.up()


@asynccontextmanager
async def hanging(network: Network) -> AsyncIterator[None]:
    network.silent = True
    network.drop()
    yield
    network.silent = False
    network.drop()


@pytest.mark.parametrize("outage", [refusing, hanging])
@pytest.mark.parametrize("way", [Database.read, Database.write, Database.write_urgently])
async def test_a_server_that_went_away_is_unavailable_until_it_is_back(
    database: Database, network: Network, outage: Outage, way: Callable[..., Coroutine[None, None, int]]
) -> None:
    await database.write(keep)
    async with outage(network):
        for _ in range(2):
            with pytest.raises(Unavailable, match="not reachable") as refusal:
                await way(database, count)

    assert refusal.value.retry_after
    assert await way(database, count) == 1


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_connection_that_drops_inside_a_transaction_leaves_nothing(
    database: Database, network: Network, *, goes_on: bool
) -> None:
    """At the next statement, or at the commit if there is none."""
    tries = 0

    def keep_two(transaction: Transaction) -> None:
        nonlocal tries
        tries += 1
        keep(transaction)
        if tries == 1:
            network.drop()
        if goes_on:
            keep(transaction)

    with pytest.raises(Unavailable, match="not reachable"):
        await database.write(keep_two)
    left = await database.read(count)
    await database.write(keep_two)

    assert left == 0
    assert await database.read(count) == 1 + goes_on
    assert tries == 2


async def test_a_commit_whose_reply_is_lost_is_unavailable_and_the_next_one_works(
    database: Database, network: Network
) -> None:
    network.loses_the_next_reply_to_commit = True
    with pytest.raises(Unavailable, match="not reachable"):
        await database.write(keep)
    await database.write(keep)

    assert await database.read(count) == 2  # the first had been committed, which nobody could know


async def test_closing_does_not_wait_for_a_server_that_is_silent(
    postgres_server: Postgres, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the connections of the pool nor for the one that listens."""
    monkeypatch.setattr(notifications, "CLOSE_SECONDS", CONNECT_SECONDS)
    url = postgres_server.create_database().replace(f":{postgres_server.port}/", f":{network.port}/")
    settings = CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    notifier = Notifier()
    async with asyncio.timeout(CEILING_SECONDS) as ceiling:
        with notifier.subscribed("anything") as listening:
            async with connect_database(settings, "public", notifier=notifier) as database:
                await listening.wait(CEILING_SECONDS)  # it listens
                await database.ping()
                network.frozen = True

    assert not ceiling.expired()


async def test_closing_finishes_what_waits_for_a_connection(postgres_server: Postgres, tmp_path: Path) -> None:
    url = postgres_server.create_database()
    settings = CommonSettings(data_dir=tmp_path, database_url=url, database_connections=2, _env_file=None)
    async with connect_database(settings, "public") as database:
        await database.write(lambda each: each.execute(text("CREATE TABLE item (id INTEGER)")) and None)
        callers = [asyncio.create_task(database.write(keep)) for _ in range(10)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*callers, return_exceptions=True)
    async with connect_database(settings, "public") as database:
        kept = await database.read(count)

    assert answers == [None] * 10
    assert kept == 10
