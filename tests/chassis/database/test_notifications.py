"""Wake-ups: a commit wakes who waits in its own process, and on PostgreSQL in those of other replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Database, Transaction, connect_database
from services.chassis.notifier import Notifier, Subscription
from services.chassis.settings import CommonSettings
from tests.support.postgres import Postgres

LONG_SECONDS = 20.0


@pytest.fixture
def shared(postgres_server: Postgres, tmp_path: Path) -> CommonSettings:
    url = postgres_server.create_database()
    return CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None)


@asynccontextmanager
async def replica(settings: CommonSettings) -> AsyncIterator[tuple[Database, Notifier]]:
    """A process of the service, as far as the database can tell; it listens already."""
    notifier = Notifier()
    async with AsyncExitStack() as exits:
        listening = exits.enter_context(notifier.subscribed("anything"))
        database = await exits.enter_async_context(connect_database(settings, "public", notifier=notifier))
        if not database.is_sqlite:
            await heard(listening)  # once it listens, everybody is woken
        yield database, notifier


async def heard(subscription: Subscription) -> bool:
    """Wait until the topic is notified; whether it was."""
    try:
        async with asyncio.timeout(LONG_SECONDS):
            await subscription.wait(2 * LONG_SECONDS)
    except TimeoutError:
        return False
    return True


def announce(transaction: Transaction, *topics: str) -> None:
    transaction.notify(*topics)


def announce_and_fail(transaction: Transaction, *topics: str) -> None:
    transaction.notify(*topics)
    raise ZeroDivisionError


async def test_a_commit_wakes_who_waits_in_its_own_process(empty: CommonSettings) -> None:
    async with replica(empty) as (database, notifier):
        with notifier.subscribed("gen_1") as subscription:
            await database.write(announce, "gen_1")
            assert subscription.notified


async def test_a_commit_wakes_who_waits_on_another_replica(shared: CommonSettings) -> None:
    async with replica(shared) as (one, _), replica(shared) as (_, other):
        with other.subscribed("gen_1") as subscription, other.subscribed("gen_2") as second:
            await one.write(announce, "gen_1", "outbox")
            assert await heard(subscription)
            assert not second.notified


async def test_a_transaction_that_failed_wakes_nobody(shared: CommonSettings) -> None:
    async with replica(shared) as (one, own), replica(shared) as (_, other):
        with own.subscribed("gen_1") as here, other.subscribed("gen_1") as there, other.subscribed("end") as end:
            with pytest.raises(ZeroDivisionError):
                await one.write(announce_and_fail, "gen_1")
            await one.write(announce, "end")
            assert await heard(end)
            assert (here.notified, there.notified) == (False, False)


async def test_very_many_topics_wake_everybody(shared: CommonSettings) -> None:
    async with replica(shared) as (one, _), replica(shared) as (_, other):
        with other.subscribed("gen_1") as subscription:
            await one.write(announce, *(f"topic{number:0100}" for number in range(100)))
            assert await heard(subscription)


async def test_a_topic_of_another_form_is_a_mistake_of_ours(shared: CommonSettings) -> None:
    async with replica(shared) as (database, _):
        with pytest.raises(ValueError, match="topic"):
            await database.write(announce, "it's")


async def test_a_listener_whose_connection_was_lost_hears_again(shared: CommonSettings) -> None:
    """Whoever waited is woken when it is back, since it may have missed something."""
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    async with replica(shared) as (one, _), replica(shared) as (_, other):
        with other.subscribed("gen_1") as subscription:
            await one.write(lambda transaction: transaction.execute(kill) and None)
            assert await heard(subscription)
            await one.write(announce, "gen_1")
            assert await heard(subscription)


ON_A_STANDBY = b"SERROR\0VERROR\0C25006\0Mcannot execute LISTEN during recovery\0\0"
REFUSAL = b"E" + (len(ON_A_STANDBY) + 4).to_bytes(4, "big") + ON_A_STANDBY + b"Z\0\0\0\5I"


@asynccontextmanager
async def refusing_the_first_listener(server: Postgres) -> AsyncIterator[int]:
    """A port that leads to the server, and at which the first LISTEN is answered as by one that has failed over."""
    refused = False

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal refused
        upstream, downstream = await asyncio.open_connection("127.0.0.1", server.port)
        back = asyncio.create_task(copy(upstream, writer))
        while data := await reader.read(65_536):
            if b"LISTEN" in data and not refused:
                refused = True
                writer.write(REFUSAL)
            else:
                downstream.write(data)
        downstream.close()
        await back

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_listener_that_the_server_refuses_tries_again(postgres_server: Postgres, tmp_path: Path) -> None:
    url = postgres_server.create_database()
    async with refusing_the_first_listener(postgres_server) as port:
        through = url.replace(f":{postgres_server.port}/", f":{port}/")
        settings = CommonSettings(data_dir=tmp_path, database_url=through, _env_file=None)
        notifier = Notifier()
        with notifier.subscribed("gen_1") as subscription:
            async with connect_database(settings, "public", notifier=notifier):
                assert await heard(subscription)  # it listens at last, and has woken everybody
