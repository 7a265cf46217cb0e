"""Notices reach those who listen; whoever may have missed one is told so, whatever happens to Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest

from services.chassis.invalidation import EVERYTHING, Invalidations, open_invalidations
from tests.support.polling import DEADLINE_SECONDS
from tests.support.valkey import Valkey

channels = count()


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


async def test_a_notice_reaches_everybody_on_its_channel(valkey: Valkey) -> None:
    async with (
        listening(valkey.url, "a") as (here, first),
        listening(valkey.url, "a") as (_, second),
        listening(valkey.url, "b") as (_, other),
    ):
        assert [await each.next() for each in (first, second, other)] == [EVERYTHING] * 3
        await here.announce("share_1")
        await here.announce("share_2")

        assert [await first.next(), await first.next()] == ["share_1", "share_2"]
        assert [await second.next(), await second.next()] == ["share_1", "share_2"]
        assert other.heard.empty()


async def test_a_subscriber_that_lost_the_connection_is_told_that_everything_changed(valkey: Valkey) -> None:
    async with listening(valkey.url, "a") as (invalidations, listener):
        await listener.until(EVERYTHING)
        valkey.kill()
        await listener.until(EVERYTHING)
        valkey.start()
        await listener.until(EVERYTHING)
        await invalidations.announce("share_1")
        await listener.until("share_1")


@pytest.mark.parametrize("harm", ["stop", "freeze"])
async def test_a_notice_that_was_lost_is_made_up_for(valkey: Valkey, harm: str) -> None:
    hurt: dict[str, Callable[[], object]] = {
        "stop": valkey.kill,
        "freeze": valkey.pause,
    }
    heal: dict[str, Callable[[], object]] = {
        "stop": valkey.start,
        "freeze": valkey.resume,
    }
    async with listening(valkey.url, "a") as (writer, own), listening(valkey.url, "a") as (_, reader):
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
