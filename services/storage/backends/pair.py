"""Two places as one: the second is read for what the first does not have, and hosts what comes while that is down.

A hosted object lies in the second under guests/, so that a listing remembers it; run() brings it home.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import structlog

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.storage.backends.merge import merged
from services.storage.model import UNLABELLED, Label, Listed, Stat
from services.storage.ports import GUESTS, Backend, Draft, Ours

DOWN = (Unavailable, ResourceExhausted)  # a full place takes nothing either
REST_SECONDS = 5.0  # a place that failed is not asked to take anything for so long: its time-outs would add up
ROUND_SECONDS = 60.0  # a guest is copied in one round and removed in a later one: whoever found it there can still read

LabelOf = Callable[[str], Awaitable[Label]]

logger = structlog.get_logger()


class Pair:
    """The Backend on two others."""

    def __init__(self, first: Backend, second: Backend, label_of: LabelOf) -> None:
        self._first = first
        self._second = second
        self._label_of = label_of
        self._rests_until = 0.0

    @asynccontextmanager
    async def draft(self) -> AsyncIterator[Draft]:
        """Open a draft where one can be opened."""
        async with AsyncExitStack() as stack:
            try:
                draft = await stack.enter_async_context(self._first.draft())
            except DOWN:
                draft = await stack.enter_async_context(self._second.draft())
            yield draft

    async def put(self, key: str, draft: Draft, label: Label = UNLABELLED) -> bool:
        """Put into the first place, or as a guest into the second; what the second has already stays the truth."""
        with suppress(*DOWN):
            if known := await self._hosted(key):
                return known == Stat(draft.size, draft.sha256)
        if time.monotonic() > self._rests_until:
            try:
                return await self._first.put(key, draft, label)
            except DOWN as failure:
                self._rests_until = time.monotonic() + REST_SECONDS
                logger.warning("first_place_down", reason=failure.reason)
        return await self._second.put(GUESTS + key, draft, label)

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Read from the place that has it."""
        backend, name = await self._where(key) or (self._first, key)
        async for chunk in backend.read(name, offset, limit):
            yield chunk

    async def size(self, key: str) -> int | None:
        """Ask one place after the other."""
        found = await self._where(key)
        return await found[0].size(found[1]) if found else None

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
        if time.monotonic() < self._rests_until:
            return ""
        return await self._first.upload_uri(key, content_type, size, seconds)

    async def delete(self, key: str) -> None:
        """Remove it from both; the first comes last, so that a failure can be repeated."""
        for backend, name in reversed(self._places(key)):
            await backend.delete(name)

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
        """Copy each guest to the first place, or remove it when its copy there has the same hash."""
        async for guest in self._guests("", ""):
            stat, home = await self._second.stat(GUESTS + guest.key), await self._first.stat(guest.key)
            if stat and home is None:
                await self._copy_home(guest.key, stat)
            elif stat and stat == home:
                await self._second.delete(GUESTS + guest.key)
            elif stat:
                logger.error("guest_differs", key=guest.key, guest=stat.sha256, home=home and home.sha256)

    async def _copy_home(self, key: str, stat: Stat) -> None:
        async with self._first.draft() as draft:
            async for chunk in self._second.read(GUESTS + key, 0, 0):
                await draft.write(chunk)
            if Stat(draft.size, draft.sha256) != stat:
                logger.error("guest_torn", key=key, wanted=stat.sha256, read=draft.sha256)
                return
            await self._first.put(key, draft, await self._label_of(key))
        logger.info("guest_home", key=key, size=stat.size)

    def _places(self, key: str) -> tuple[tuple[Backend, str], ...]:
        return (self._first, key), (self._second, key), (self._second, GUESTS + key)

    async def _where(self, key: str) -> tuple[Backend, str] | None:
        """The place that has a key, and its name there; None when both say that they do not have it.

        Raises:
            KawaiiError: of a place that could not say, when the others do not have it.
        """
        failures: list[KawaiiError] = []
        for backend, name in self._places(key):
            try:
                if await backend.size(name) is not None:
                    return backend, name
            except DOWN as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        return None

    async def _hosted(self, key: str) -> Stat | None:
        return await self._second.stat(key) or await self._second.stat(GUESTS + key)

    async def _residents(self, prefix: str, after: str) -> AsyncIterator[Listed]:
        async for listed in self._second.keys(prefix, after):
            if not listed.key.startswith(GUESTS):
                yield listed

    async def _guests(self, prefix: str, after: str) -> AsyncIterator[Listed]:
        async for listed in self._second.keys(GUESTS + prefix, GUESTS + after):
            yield Listed(listed.key.removeprefix(GUESTS), listed.size, listed.modified)
