"""Notifications between replicas: PostgreSQL's NOTIFY in the transaction, LISTEN on one connection of each process."""

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from services.chassis.notifier import Notifier

TOPIC = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
MAX_PAYLOAD = 7000  # bytes; PostgreSQL takes less than 8000 (https://www.postgresql.org/docs/current/sql-notify.html)
CONNECT_SECONDS = 5.0  # asyncpg's own minute would outlive every caller
RECONNECT_SECONDS = 1.0
CLOSE_SECONDS = 2.0  # for the server to confirm; asyncpg would wait for ever, and the launcher allows ten for the stop
CHECK_SECONDS = 15.0  # how long a connection that died silently goes unnoticed; those who wait also look by themselves

logger = structlog.get_logger()


class Notifications:
    """Sends the topics of this process's transactions to other processes, and hears theirs."""

    def __init__(self, url: URL, arguments: Mapping[str, Any], channel: str, notifier: Notifier) -> None:
        self.notifier = notifier
        self._channel = channel
        self._sender = secrets.token_hex(8)  # so that a process does not hear itself
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": CONNECT_SECONDS, **arguments},
        )
        self._task: asyncio.Task[None] | None = None

    def statement(self, topics: Sequence[str]) -> str:
        """The statement that sends topics at the commit of its transaction, to go before COMMIT.

        Raises:
            ValueError: a topic has another form.
        """
        if not all(map(TOPIC.fullmatch, topics)):
            raise ValueError("a topic has letters, digits and _.:- only")
        payload = " ".join((self._sender, *dict.fromkeys(topics)))
        if len(payload) > MAX_PAYLOAD:
            payload = f"{self._sender} *"
        return f"NOTIFY {self._channel}, '{payload}'"

    def listen(self) -> None:
        """Listen until closed, reconnecting when the connection is lost."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001 - a supervisor: the driver has errors of its own beside SQLAlchemy's
                logger.warning("notifications_lost", cause=repr(getattr(error, "orig", error)))
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _hear(self) -> None:
        """Listen on one connection until it is lost."""
        async with self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            lost = asyncio.Event()
            driver.add_termination_listener(lambda _: lost.set())
            await driver.add_listener(self._channel, self._heard)
            self.notifier.notify_all()  # what was sent before is lost
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await lost.wait()
                if not lost.is_set():
                    await driver.execute("SELECT 1", timeout=CONNECT_SECONDS)
        logger.warning("notifications_lost", cause="the connection was closed")

    def _heard(self, _driver: object, _pid: int, _channel: str, payload: object) -> None:
        sender, *topics = str(payload).split(" ")
        if sender == self._sender:
            return
        if topics == ["*"]:
            self.notifier.notify_all()
        else:
            self.notifier.notify(*topics)

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        await close_connections(self._engine)


async def close_connections(engine: AsyncEngine) -> None:
    """Close the connections of a pool; those whose server does not answer are left to the operating system."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await engine.dispose()
    except TimeoutError:
        logger.warning("connections_not_closed")
