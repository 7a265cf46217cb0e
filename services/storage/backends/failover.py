"""A backend over two others: reads fall back to the second, and so do writes while the first is down.

An object that was written during an outage lies in the second backend under guests/, so that a listing finds it; run()
copies it back to the first. Each backend has a circuit breaker, so that neither delays the other.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from services.chassis.errors import KawaiiError
from services.storage.backends.circuit_breaker import DOWN, CircuitBreaker, TimeLimits
from services.storage.backends.disk import translated
from services.storage.model import NO_METADATA, ListedObject, ObjectMetadata, Stat
from services.storage.ports import CHUNK_BYTES, FAILOVER_PREFIX, Backend, Ours, Spool

ROUND_SECONDS = 60.0  # a failover copy is copied back in one round and deleted in a later one: readers of it can finish
MAX_FAILURES = 3  # in a row; then a backend is down, and the next round tries again

T = TypeVar("T")
MetadataOf = Callable[[str], Awaitable[ObjectMetadata]]
IsKept = Callable[[str], Awaitable[bool]]

logger = structlog.get_logger()


class FailoverBackend:
    """The Backend over a first and a second one. `is_kept` returns whether a key has a row."""

    def __init__(
        self,
        first: Backend,
        second: Backend,
        metadata_of: MetadataOf,
        is_kept: IsKept,
        limits: TimeLimits | None = None,
    ) -> None:
        self._first = first
        self._second = second
        self._metadata_of = metadata_of
        self._is_kept = is_kept
        self._limits = limits = limits or TimeLimits()
        self._calls = set[asyncio.Task[Any]]()
        self._breakers = CircuitBreaker("first", first, limits), CircuitBreaker("second", second, limits)

    @asynccontextmanager
    async def spool(self) -> AsyncIterator[Spool]:
        """Open a spool in the first backend, else in the second."""
        async with AsyncExitStack() as stack:
            try:
                spool = await stack.enter_async_context(self._first.spool())
                spare: Backend | None = self._second
            except DOWN:
                spool, spare = await stack.enter_async_context(self._second.spool()), None
            yield _MovingSpool(spool, spare, stack)

    async def put(self, key: str, spool: Spool, metadata: ObjectMetadata = NO_METADATA) -> bool:
        """Put into the first backend, or as a failover copy into the second. What the second already holds wins."""
        first, second = self._breakers
        stat = Stat(spool.size, spool.sha256)
        known, _ = await asyncio.gather(self._stat_in_second(key), first.probe(partial(self._first.size, key)))
        if known:
            return known == stat
        with suppress(*DOWN):
            return await first.put(lambda: self._first.put(key, spool, metadata), spool.size)
        return await second.put(lambda: self._second.put(FAILOVER_PREFIX + key, spool, metadata), spool.size)

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Read from the backend that has the key."""
        backend, name, _ = await self._where(key) or (self._first, key, 0)
        async for chunk in backend.read(name, offset, limit):
            yield chunk

    async def size(self, key: str) -> int | None:
        """The size in the first backend, else in the second."""
        found = await self._where(key)
        return found[2] if found else None

    async def stat(self, key: str) -> Stat | None:
        """Size and hash from the backend that has the key."""
        found = await self._where(key)
        return await found[0].stat(found[1]) if found else None

    async def path(self, key: str) -> Path | None:
        """The file of the backend that has the key, if that one is local."""
        found = await self._where(key)
        return await found[0].path(found[1]) if found else None

    def keys(self, prefix: str, after: str = "") -> AsyncIterator[ListedObject]:
        """List both backends, each key once, failover copies under their own key."""
        return _merged(
            self._first.keys(prefix, after), self._own_keys(prefix, after), self._failover_copies(prefix, after)
        )

    async def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """The upload URL of the first backend; empty while that one is down."""
        if not self._breakers[0].takes_puts:
            return ""
        return await self._first.upload_uri(key, content_type, size, seconds)

    async def delete(self, key: str) -> None:
        """Delete from both: the failover copy first, the first backend last, so that a concurrent fail-back sees it."""
        first, second = self._breakers
        await second.call(lambda: self._second.delete(FAILOVER_PREFIX + key))
        await second.call(lambda: self._second.delete(key))
        await first.call(lambda: self._first.delete(key))

    async def reap(self, ours: Ours) -> None:
        """Reap both backends."""
        await self._second.reap(lambda key: ours(key.removeprefix(FAILOVER_PREFIX)))
        await self._first.reap(ours)

    async def ping(self) -> None:
        """Return when both backends work."""
        await asyncio.gather(self._first.ping(), self._second.ping())

    async def run(self) -> None:
        """Copy failover copies back to the first backend, once a minute, until cancelled."""
        while True:
            with suppress(*DOWN):  # its breaker has logged the outage; the next round tries again
                await self.fail_back()
            await asyncio.sleep(ROUND_SECONDS)

    async def fail_back(self) -> None:
        """Copy each failover copy to the first backend, or delete it when the first holds the same hash.

        Raises:
            Unavailable, ResourceExhausted: MAX_FAILURES in a row could not be copied. One that cannot be read does not
                block the others.
        """
        failures = 0
        async for copy in self._failover_copies("", ""):
            try:
                await self._fail_back_one(copy.key)
                failures = 0
            except KawaiiError as failure:
                failures += isinstance(failure, DOWN)
                logger.warning("failover_copy_stays", key=copy.key, reason=failure.reason)
                if failures >= MAX_FAILURES:
                    raise

    async def _fail_back_one(self, key: str) -> None:
        stat, there = await self._second.stat(FAILOVER_PREFIX + key), await self._first.stat(key)
        if stat and there is None:
            await self._copy_back(key, stat)
        elif stat and stat == there:
            await self._second.delete(FAILOVER_PREFIX + key)
        elif stat:
            logger.error("failover_copy_differs", key=key, copy=stat.sha256, first=there and there.sha256)

    async def _copy_back(self, key: str, stat: Stat) -> None:
        async with self._first.spool() as spool:
            async for chunk in self._second.read(FAILOVER_PREFIX + key, 0, 0):
                await spool.write(chunk)
            if Stat(spool.size, spool.sha256) != stat:
                logger.error("failover_copy_torn", key=key, wanted=stat.sha256, read=spool.sha256)
                return
            await self._first.put(key, spool, await self._metadata_of(key))
        # delete() removes the failover copy before the first backend's object, so one of the two sees the other.
        if await self._second.size(FAILOVER_PREFIX + key) is None and not await self._is_kept(key):
            await self._first.delete(key)
            return
        logger.info("failover_copy_returned", key=key, size=stat.size)

    async def _where(self, key: str) -> tuple[Backend, str, int] | None:
        """The backend that has a key, its name there and its size; None when neither has it.

        A slow first backend does not delay an object of the second: after `hedge` seconds both are called.

        Raises:
            KawaiiError: one backend did not answer, and the other does not have the key.
        """
        first = self._start(self._breakers[0].call(partial(self._first.size, key)))
        await asyncio.wait([first], timeout=self._limits.hedge)
        if first.done() and (size := _answer(first)) is not None:
            return self._first, key, size
        second = self._start(self._in_second(key))
        waiting: set[asyncio.Task[Any]] = {first, second}
        while waiting := {each for each in waiting if not each.done()}:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if first.done() and (size := _answer(first)) is not None:
                return self._first, key, size
            if second.done() and (found := _answer(second)):
                return self._second, *found
        for each in (second, first):
            await each  # raises the failure of a backend that did not answer
        return None

    def _start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a call that goes on when nobody waits for it: the breaker learns of a time-out all the same."""
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: "asyncio.Task[Any]") -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved

    async def _in_second(self, key: str) -> tuple[str, int] | None:
        """The name of a key in the second backend, its own or that of a failover copy, and its size."""
        second, names = self._breakers[1], (key, FAILOVER_PREFIX + key)
        answers = await asyncio.gather(
            *(second.call(partial(self._second.size, name)) for name in names), return_exceptions=True
        )
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, int):
                return name, answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return None

    async def _stat_in_second(self, key: str) -> Stat | None:
        """Size and hash in the second backend; None also when that does not answer."""
        with suppress(*DOWN):
            if found := await self._in_second(key):
                return await self._second.stat(found[0])
        return None

    async def _own_keys(self, prefix: str, after: str) -> AsyncIterator[ListedObject]:
        async for listed in self._second.keys(prefix, after):
            if not listed.key.startswith(FAILOVER_PREFIX):
                yield listed

    async def _failover_copies(self, prefix: str, after: str) -> AsyncIterator[ListedObject]:
        async for listed in self._second.keys(FAILOVER_PREFIX + prefix, FAILOVER_PREFIX + after):
            yield ListedObject(listed.key.removeprefix(FAILOVER_PREFIX), listed.size, listed.modified)


def _answer(call: "asyncio.Task[T]") -> T | None:
    """The result of a call; None when its backend is down. Raises any other error."""
    failure = call.exception()
    if failure is None:
        return call.result()
    if isinstance(failure, DOWN):
        return None
    raise failure


class _MovingSpool:
    """A spool that moves to the second backend when its own disk is full or gone."""

    def __init__(self, spool: Spool, spare: Backend | None, stack: AsyncExitStack) -> None:
        self._spool = spool
        self._spare = spare
        self._stack = stack

    @property
    def path(self) -> Path:
        return self._spool.path

    @property
    def size(self) -> int:
        return self._spool.size

    @property
    def sha256(self) -> str:
        return self._spool.sha256

    @property
    def head(self) -> bytes:
        return self._spool.head

    async def write(self, chunk: bytes) -> None:
        try:
            await self._spool.write(chunk)
        except DOWN:
            if self._spare is None:
                raise
            await self._move(self._spare)
            await self._spool.write(chunk)

    async def _move(self, spare: Backend) -> None:
        """Copy the chunks that were written whole; the one that failed may be there in part."""
        self._spare = None
        moved, rest = await self._stack.enter_async_context(spare.spool()), self._spool.size
        with translated(), self._spool.path.open("rb") as file:
            while rest and (chunk := await asyncio.to_thread(file.read, min(rest, CHUNK_BYTES))):
                await moved.write(chunk)
                rest -= len(chunk)
        self._spool = moved


async def _merged(*sources: AsyncIterator[ListedObject]) -> AsyncIterator[ListedObject]:
    """Each key once, in order; of equal keys the one of the earlier source."""
    heads = [(source, await anext(source, None)) for source in sources]
    while found := [head for _, head in heads if head]:
        first = min(found, key=lambda listed: listed.key)
        yield first
        heads = [
            (source, await anext(source, None) if head and head.key == first.key else head) for source, head in heads
        ]
