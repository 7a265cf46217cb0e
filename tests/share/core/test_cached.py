"""The cache in front of the store: it saves work; flushed, filled with garbage or killed, it changes no answer."""

import asyncio
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from itertools import count
from threading import Event
from typing import Any, cast

import pytest

from services.chassis.cache import Cache
from services.chassis.clock import Clock
from services.chassis.database import Database, Transaction
from services.chassis.errors import Unavailable
from services.share.core.cached import LATEST_KEY, MAX_CHANGES, STATS_KEY, CachedShares, CacheLifetimes
from services.share.model import Policy, Share, View
from services.share.stores.shares import SqlShares
from tests.share.conftest import announce_nothing, in_sql
from tests.support.valkey import Valkey

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # the engine makes no difference here
Make = Callable[..., Share]
ALL = View(Policy.ALL)
NOW_MS = 7  # what the statistics are stamped with
FRESHNESS = CacheLifetimes(record=60, list=60, latest=600, stats=60)
SECONDS = 10.0  # after which a thread is no longer held: the test has failed


@pytest.fixture
def clock() -> Clock:
    """A clock that moves whenever it is read, so that no two moments are the same."""
    return clock_from(1_700_000_000_000)


def clock_from(start_ms: int) -> Clock:
    return count(start_ms).__next__


@pytest.fixture
def store(database: Database, cache: Cache, clock: Clock) -> CachedShares:
    return CachedShares(database, SqlShares(), cache, FRESHNESS, clock=clock, announce=announce_nothing)


async def forget_behind(database: Database, share: Share) -> None:
    """Delete a share as nobody does in operation, so that an answer shows where it came from."""
    assert await in_sql(database).delete(share.id)


async def warm(store: CachedShares) -> None:
    """Fill the cache."""
    await store.latest(ALL, 12)
    await store.stats(NOW_MS)


async def test_the_latest_twelve_come_from_the_cache(
    store: CachedShares, make: Make, database: Database, valkey: Valkey
) -> None:
    kept = await store.insert(make(), "d")
    await warm(store)
    await forget_behind(database, kept)

    assert await store.latest(ALL, 12) == (kept,)
    assert await store.latest(ALL, 11) == ()
    assert await store.latest(View(Policy.TEXT_TO_IMAGE), 12) == ()
    assert 590 < int(valkey.redis.ttl(LATEST_KEY)) <= 600
    assert 50 < int(valkey.redis.ttl(STATS_KEY)) <= 60


async def test_records_and_the_first_page_come_from_the_cache(
    store: CachedShares, make: Make, database: Database, valkey: Valkey
) -> None:
    kept = [await store.insert(make(), "d") for _ in range(3)][::-1]
    assert await store.page(ALL, limit=2) == tuple(kept[:2])
    await forget_behind(database, kept[1])

    assert await store.find(kept[1].id) == kept[1]
    assert await store.page(ALL, limit=2) == tuple(kept[:2])
    assert await store.page(ALL, limit=100, skip=1) == tuple(kept[1:])
    assert await store.page(ALL, limit=101, skip=1) == (kept[2],)
    assert {b"share:list", b"share:" + kept[1].id.encode()} <= set(valkey.redis.scan_iter())


async def test_the_first_page_shows_no_share_that_has_gone(
    store: CachedShares, make: Make, database: Database, valkey: Valkey
) -> None:
    kept = [await store.insert(make(), "d") for _ in range(3)][::-1]
    await store.page(ALL, limit=2)
    await forget_behind(database, kept[1])
    valkey.redis.delete("share:" + kept[1].id)

    assert await store.page(ALL, limit=2) == (kept[0], kept[2])


async def test_another_replica_hears_of_a_deletion_that_its_reader_overtook(
    store: CachedShares, make: Make, database: Database, valkey: Valkey, cache: Cache, clock: Clock
) -> None:
    """The reader of another replica writes what it read before the deletion after the deletion of the key."""
    other = CachedShares(database, SqlShares(), cache, FRESHNESS, clock=clock, announce=announce_nothing)
    replica = CachedShares(database, SqlShares(), cache, FRESHNESS, clock=clock, announce=async_(other.invalidate))
    kept = await store.insert(make(), "d")
    await other.find(kept.id)
    late = valkey.redis.get("share:" + kept.id)
    assert await replica.delete(kept.id)
    valkey.redis.set("share:" + kept.id, late)

    assert await other.find(kept.id) is None


def async_(hear: Callable[[str], None]) -> Callable[[str], Awaitable[None]]:
    """A invalidations without a way between."""

    async def announce(notice: str) -> None:
        hear(notice)

    return announce


async def test_more_changes_than_are_known_one_by_one_make_every_record_unbelieved(
    store: CachedShares, make: Make, database: Database
) -> None:
    kept = await store.insert(make(), "d")
    await store.find(kept.id)
    await forget_behind(database, kept)
    for number in range(MAX_CHANGES + 1):
        store.invalidate(f"share_x{number}")

    assert await store.find(kept.id) is None


async def test_a_writer_that_gives_up_leaves_no_old_answer_behind(
    database: Database, cache: Cache, clock: Clock, make: Make
) -> None:
    slow = SlowDeletion()
    store = CachedShares(database, slow, cache, FRESHNESS, clock=clock, announce=announce_nothing)
    kept = await store.insert(make(), "d")
    writer = asyncio.create_task(store.delete(kept.id))
    await asyncio.to_thread(slow.has_begun.wait, SECONDS)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    assert await store.find(kept.id) == kept
    slow.may_go.set()
    await store.aclose()

    assert await store.find(kept.id) is None


class SlowDeletion(SqlShares):
    """Holds a deletion back, on the database's thread, until told."""

    def __init__(self) -> None:
        self.has_begun, self.may_go = Event(), Event()

    def delete(self, transaction: Transaction, share_id: str) -> bool:
        self.has_begun.set()
        self.may_go.wait(SECONDS)
        return super().delete(transaction, share_id)


class LostAnswers:
    """A database whose connection is lost at every commit: it is committed, and nobody is told."""

    def __init__(self, database: Database) -> None:
        self._database, self.read = database, database.read

    async def write(self, function: Callable[..., object], *args: object) -> None:
        await self._database.write(function, *args)
        raise Unavailable("The connection was lost at the commit.")


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
async def test_a_deletion_that_was_committed_and_not_answered_leaves_no_old_answer_behind(
    store: CachedShares, database: Database, cache: Cache, clock: Clock, make: Make, *, leaves: bool
) -> None:
    slow, heard = SlowDeletion(), list[str]()
    torn = cast("Database", LostAnswers(database))
    other = CachedShares(torn, slow, cache, FRESHNESS, clock=clock, announce=async_(heard.append))
    kept = await store.insert(make(), "d")
    assert await other.find(kept.id) == kept
    writer = asyncio.create_task(other.delete(kept.id))
    await asyncio.to_thread(slow.has_begun.wait, SECONDS)
    if leaves:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    slow.may_go.set()
    await other.aclose()

    assert isinstance(*await asyncio.gather(writer, return_exceptions=True), CancelledError if leaves else Unavailable)
    assert await other.find(kept.id) is None
    assert heard == [kept.id]


async def test_an_expiry_that_was_committed_and_not_answered_leaves_no_old_answer_behind(
    store: CachedShares, database: Database, cache: Cache, clock: Clock, make: Make
) -> None:
    heard = list[str]()
    torn = cast("Database", LostAnswers(database))
    other = CachedShares(torn, SqlShares(), cache, FRESHNESS, clock=clock, announce=async_(heard.append))
    old, new = await store.insert(make(create_ms=1), "d"), await store.insert(make(create_ms=3), "d")
    assert set(await other.batch([old.id, new.id])) == {old.id, new.id}

    with pytest.raises(Unavailable):
        await other.expire(2, 5)

    assert set(await other.batch([old.id, new.id])) == {new.id}
    assert heard == [old.id]


async def test_the_statistics_come_from_the_cache(store: CachedShares, make: Make, database: Database) -> None:
    kept = await store.insert(make(), "d")
    await warm(store)
    await forget_behind(database, kept)

    assert (await store.stats(NOW_MS)).total == 1


async def test_an_empty_answer_is_not_kept(store: CachedShares, make: Make, database: Database, valkey: Valkey) -> None:
    await warm(store)

    assert valkey.redis.get(LATEST_KEY) is None
    kept = await in_sql(database).insert(make(), "d")  # behind the cache's back
    assert await store.latest(ALL, 12) == (kept,)


async def test_a_value_that_outlived_a_deletion_is_not_believed(
    store: CachedShares, make: Make, valkey: Valkey
) -> None:
    kept = await store.insert(make(), "d")
    await warm(store)
    old: dict[Any, Any] = {key: valkey.redis.get(key) for key in valkey.redis.scan_iter()}
    await store.delete(kept.id)
    for key, value in old.items():
        valkey.redis.set(key, value)

    assert await store.latest(ALL, 12) == ()
    assert await store.total(ALL) == (await store.stats(NOW_MS)).total == 0


class Slow(SqlShares):
    """Reads the latest and holds them back until told."""

    def __init__(self) -> None:
        self.has_read, self.may_go = Event(), Event()

    def latest(self, transaction: Transaction, view: View, limit: int) -> tuple[Share, ...]:
        found = super().latest(transaction, view, limit)
        self.has_read.set()
        self.may_go.wait(SECONDS)
        return found


async def test_a_reader_that_is_overtaken_by_a_change_does_not_bring_the_old_answer_back(
    database: Database, cache: Cache, clock: Clock, make: Make
) -> None:
    slow = Slow()
    store = CachedShares(database, slow, cache, FRESHNESS, clock=clock, announce=announce_nothing)
    first = await store.insert(make(), "d")
    reader = asyncio.create_task(store.latest(ALL, 12))
    await asyncio.to_thread(slow.has_read.wait, SECONDS)
    second = await store.insert(make(), "d")
    slow.may_go.set()

    assert await reader == (first,)
    assert await store.latest(ALL, 12) == (second, first)


async def test_another_replica_sees_a_change_at_once(
    store: CachedShares, make: Make, database: Database, cache: Cache, clock: Clock
) -> None:
    other = CachedShares(database, SqlShares(), cache, FRESHNESS, clock=clock, announce=announce_nothing)
    kept = await store.insert(make(), "d")
    await warm(other)
    assert await store.latest(ALL, 12) == (kept,)

    published = await store.publish(kept.id, 5)

    assert await other.latest(ALL, 12) == (published,)
    assert (await other.stats(NOW_MS)).published == 1


@pytest.mark.parametrize("started", [1000, 3000])
async def test_a_value_from_the_future_or_from_before_the_start_is_not_believed(
    database: Database, cache: Cache, make: Make, started: int
) -> None:
    """Clocks step back, and a database may be another one after a restart."""
    kept = await in_sql(database).insert(make(), "d")
    await warm(CachedShares(database, SqlShares(), cache, FRESHNESS, clock=clock_from(2000), announce=announce_nothing))
    await forget_behind(database, kept)

    other = CachedShares(database, SqlShares(), cache, FRESHNESS, clock=clock_from(started), announce=announce_nothing)

    assert await other.latest(ALL, 12) == ()
    assert await other.total(ALL) == (await other.stats(NOW_MS)).total == 0


async def warm_all(store: CachedShares) -> None:
    """Fill the cache."""
    await store.latest(ALL, 12)
    await store.page(ALL, limit=21)
    await store.stats(NOW_MS)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"[1]",
        b'{"value":[1],"read_ms":1}',
        b'{"value":[],"read_ms":1}',
    ],
)
async def test_garbage_is_ignored_and_overwritten(
    store: CachedShares, make: Make, valkey: Valkey, garbage: bytes
) -> None:
    kept = await store.insert(make(), "d")
    await warm_all(store)
    written = [(key, valkey.redis.get(key)) for key in valkey.redis.scan_iter()]
    assert len(written) == 4
    for key, _ in written:
        valkey.redis.set(key, garbage)

    assert await store.latest(ALL, 12) == await store.page(ALL, limit=21) == (kept,)
    assert await store.find(kept.id) == kept
    assert await store.total(ALL) == (await store.stats(NOW_MS)).total == 1
    for key, value in written:
        assert valkey.redis.get(key) not in (None, garbage), value


async def test_a_key_of_another_type_is_healed(store: CachedShares, make: Make, valkey: Valkey) -> None:
    kept = await store.insert(make(), "d")
    await warm_all(store)
    keys = list(valkey.redis.scan_iter())
    for key in keys:
        valkey.redis.delete(key)
        valkey.redis.rpush(key, "somebody else's")

    assert await store.page(ALL, limit=21) == (kept,)
    await warm_all(store)

    assert {valkey.redis.type(key) for key in keys} == {b"string"}


async def test_flushing_and_killing_the_cache_changes_no_answer(
    store: CachedShares, make: Make, valkey: Valkey
) -> None:
    shown: list[Share] = []

    async def check() -> None:
        assert await store.latest(ALL, 12) == await store.page(ALL, limit=12) == tuple(shown)
        assert await store.total(ALL) == (await store.stats(NOW_MS)).total == len(shown)
        assert await store.batch([each.id for each in shown]) == {each.id: each for each in shown}

    harm: list[Callable[[], object]] = [valkey.redis.flushall, valkey.kill, valkey.start, valkey.redis.flushall]
    for each in (*harm, *harm):
        shown.insert(0, await store.insert(make(), "d"))
        await warm_all(store)
        each()
        await check()
        gone = shown.pop()
        assert await store.delete(gone.id)
        assert await store.find(gone.id) is None
        await check()
        shown.insert(0, await store.insert(make(), "d"))
        published = await store.publish(shown[0].id, 5)
        assert published
        shown[0] = published
        await check()
