"""Two places as one: the second is read for what the first does not have, and hosts what comes while that is down.

A hosted object lies in the second under guests/, so that a listing remembers it; run() brings it home. Neither place
holds up the other: see place.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from services.chassis.errors import KawaiiError
from services.storage.backends.merge import merged
from services.storage.backends.place import DOWN, Patience, Place
from services.storage.backends.tree import translated
from services.storage.model import UNLABELLED, Label, Listed, Stat
from services.storage.ports import GUESTS, Backend, Draft, Ours

ROUND_SECONDS = 60.0  # a guest is copied in one round and removed in a later one: whoever found it there can still read
MAX_FAILURES = 3  # guests in a row; then a place is down, and the next round tries again
CHUNK_BYTES = 256 * 1024  # docs/storage.md#chunks

T = TypeVar("T")
LabelOf = Callable[[str], Awaitable[Label]]
IsKept = Callable[[str], Awaitable[bool]]

logger = structlog.get_logger()


class Pair:
    """The Backend on two others. `is_kept` tells whether a key has a row."""

    def __init__(
        self,
        first: Backend,
        second: Backend,
        label_of: LabelOf,
        is_kept: IsKept,
        patience: Patience | None = None,
    ) -> None:
        self._first = first
        self._second = second
        self._label_of = label_of
        self._is_kept = is_kept
        self._patience = patience = patience or Patience()
        self._asked = set[asyncio.Task[Any]]()
        self._places = Place("first", first, patience), Place("second", second, patience)

    @asynccontextmanager
    async def draft(self) -> AsyncIterator[Draft]:
        """Open a draft where one can be opened and written."""
        async with AsyncExitStack() as stack:
            try:
                draft = await stack.enter_async_context(self._first.draft())
                spare: Backend | None = self._second
            except DOWN:
                draft, spare = await stack.enter_async_context(self._second.draft()), None
            yield _MovingDraft(draft, spare, stack)

    async def put(self, key: str, draft: Draft, label: Label = UNLABELLED) -> bool:
        """Put into the first place, or as a guest into the second; what the second has already stays the truth."""
        first, second = self._places
        stat = Stat(draft.size, draft.sha256)
        known, _ = await asyncio.gather(self._known_hosted(key), first.probe(partial(self._first.size, key)))
        if known:
            return known == stat
        with suppress(*DOWN):
            return await first.put(lambda: self._first.put(key, draft, label), draft.size)
        return await second.put(lambda: self._second.put(GUESTS + key, draft, label), draft.size)

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Read from the place that has it."""
        backend, name, _ = await self._where(key) or (self._first, key, 0)
        async for chunk in backend.read(name, offset, limit):
            yield chunk

    async def size(self, key: str) -> int | None:
        """Ask the first place, and the second when that does not have it or takes its time."""
        found = await self._where(key)
        return found[2] if found else None

    async def stat(self, key: str) -> Stat | None:
        """Ask the place that has it."""
        found = await self._where(key)
        return await found[0].stat(found[1]) if found else None

    async def path(self, key: str) -> Path | None:
        """A file of the place that has it, if that is this machine."""
        found = await self._where(key)
        return await found[0].path(found[1]) if found else None

    def keys(self, prefix: str, after: str = "") -> AsyncIterator[Listed]:
        """What lies in either place, each key once, under its own name."""
        return merged(self._first.keys(prefix, after), self._residents(prefix, after), self._guests(prefix, after))

    async def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """Send uploads to the first place while it works."""
        if not self._places[0].takes:
            return ""
        return await self._first.upload_uri(key, content_type, size, seconds)

    async def delete(self, key: str) -> None:
        """Remove it from both: the guest first and the first place last, so that whoever copies sees it."""
        first, second = self._places
        await second.ask(lambda: self._second.delete(GUESTS + key))
        await second.ask(lambda: self._second.delete(key))
        await first.ask(lambda: self._first.delete(key))

    async def reap(self, ours: Ours) -> None:
        """Reap both places."""
        await self._second.reap(lambda key: ours(key.removeprefix(GUESTS)))
        await self._first.reap(ours)

    async def ping(self) -> None:
        """Say that it works only while both do."""
        await asyncio.gather(self._first.ping(), self._second.ping())

    async def run(self) -> None:
        """Bring guests home, now and then for ever."""
        while True:
            with suppress(*DOWN):  # what is down is known; the next round tries again
                await self.bring_home()
            await asyncio.sleep(ROUND_SECONDS)

    async def bring_home(self) -> None:
        """Copy each guest to the first place, or remove it when its copy there has the same hash.

        Raises:
            Unavailable, ResourceExhausted: several guests in a row could not be moved. One that cannot be read does
                not block the others.
        """
        failures = 0
        async for guest in self._guests("", ""):
            try:
                await self._bring(guest.key)
                failures = 0
            except KawaiiError as failure:
                failures += isinstance(failure, DOWN)
                logger.warning("guest_stays", key=guest.key, reason=failure.reason)
                if failures >= MAX_FAILURES:
                    raise

    async def _bring(self, key: str) -> None:
        stat, home = await self._second.stat(GUESTS + key), await self._first.stat(key)
        if stat and home is None:
            await self._copy_home(key, stat)
        elif stat and stat == home:
            await self._second.delete(GUESTS + key)
        elif stat:
            logger.error("guest_differs", key=key, guest=stat.sha256, home=home and home.sha256)

    async def _copy_home(self, key: str, stat: Stat) -> None:
        async with self._first.draft() as draft:
            async for chunk in self._second.read(GUESTS + key, 0, 0):
                await draft.write(chunk)
            if Stat(draft.size, draft.sha256) != stat:
                logger.error("guest_torn", key=key, wanted=stat.sha256, read=draft.sha256)
                return
            await self._first.put(key, draft, await self._label_of(key))
        # Whoever deletes removes the guest before the copy, so one of us sees the other.
        if await self._second.size(GUESTS + key) is None and not await self._is_kept(key):
            await self._first.delete(key)
            return
        logger.info("guest_home", key=key, size=stat.size)

    async def _where(self, key: str) -> tuple[Backend, str, int] | None:
        """The place that has a key, its name there and its size; None when both say that they do not have it.

        A first place that is slow does not hold up what the second has: after a moment both are asked.

        Raises:
            KawaiiError: of a place that could not say, when the others do not have it.
        """
        first = self._begun(self._places[0].ask(partial(self._first.size, key)))
        await asyncio.wait([first], timeout=self._patience.hedge)
        if first.done() and (size := _answer(first)) is not None:
            return self._first, key, size
        second = self._begun(self._in_second(key))
        waiting: set[asyncio.Task[Any]] = {first, second}
        while waiting := {each for each in waiting if not each.done()}:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if first.done() and (size := _answer(first)) is not None:
                return self._first, key, size
            if second.done() and (found := _answer(second)):
                return self._second, *found
        for each in (second, first):
            await each  # raises what kept it from saying
        return None

    def _begun(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A question that goes on when nobody waits for it any more: its place is learnt to be silent all the same."""
        task = asyncio.create_task(work)
        self._asked.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited was told

    async def _in_second(self, key: str) -> tuple[str, int] | None:
        """The name of a key in the second place, its own or a guest's, and its size; both are asked for at once."""
        second, names = self._places[1], (key, GUESTS + key)
        answers = await asyncio.gather(
            *(second.ask(partial(self._second.size, name)) for name in names), return_exceptions=True
        )
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, int):
                return name, answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return None

    async def _known_hosted(self, key: str) -> Stat | None:
        """What the second place has under a key, as far as it says."""
        with suppress(*DOWN):
            if found := await self._in_second(key):
                return await self._second.stat(found[0])
        return None

    async def _residents(self, prefix: str, after: str) -> AsyncIterator[Listed]:
        async for listed in self._second.keys(prefix, after):
            if not listed.key.startswith(GUESTS):
                yield listed

    async def _guests(self, prefix: str, after: str) -> AsyncIterator[Listed]:
        async for listed in self._second.keys(GUESTS + prefix, GUESTS + after):
            yield Listed(listed.key.removeprefix(GUESTS), listed.size, listed.modified)


def _answer(asked: "asyncio.Task[T]") -> T | None:
    """What a place said; None when it could not say. Raises what is no failure of a place."""
    failure = asked.exception()
    if failure is None:
        return asked.result()
    if isinstance(failure, DOWN):
        return None
    raise failure


class _MovingDraft:
    """A draft that goes on in the other place when its own is full or gone."""

    def __init__(self, draft: Draft, spare: Backend | None, stack: AsyncExitStack) -> None:
        self._draft = draft
        self._spare = spare
        self._stack = stack

    @property
    def path(self) -> Path:
        return self._draft.path

    @property
    def size(self) -> int:
        return self._draft.size

    @property
    def sha256(self) -> str:
        return self._draft.sha256

    @property
    def head(self) -> bytes:
        return self._draft.head

    async def write(self, chunk: bytes) -> None:
        try:
            await self._draft.write(chunk)
        except DOWN:
            if self._spare is None:
                raise
            await self._move(self._spare)
            await self._draft.write(chunk)

    async def _move(self, spare: Backend) -> None:
        """Copy what was written whole; the chunk that failed may be there in part."""
        self._spare = None
        moved, rest = await self._stack.enter_async_context(spare.draft()), self._draft.size
        with translated(), self._draft.path.open("rb") as file:
            while rest and (chunk := await asyncio.to_thread(file.read, min(rest, CHUNK_BYTES))):
                await moved.write(chunk)
                rest -= len(chunk)
        self._draft = moved
