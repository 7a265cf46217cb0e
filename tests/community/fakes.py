"""Fakes of the generation and storage clients, which do what a test says and record their calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count

from services.chassis.errors import NotFound, Unavailable
from services.community.model import GenerationStatus, OrderState, Refused, Request, Unclear

OURS = "https://site.example/files/"
Answer = Callable[[GenerationStatus], GenerationStatus | Refused | Unclear]


def taken(status: GenerationStatus) -> GenerationStatus:
    """The order is taken, and being made."""
    return replace(status, state=OrderState.RUNNING)


def lost(_status: GenerationStatus) -> Unclear:
    """The order is taken, and the answer is lost."""
    return Unclear()


class FakeGenerations:
    """A fake of the Generations port: makes a generation for each request id, once, and an event for each change."""

    def __init__(self) -> None:
        self.answer: Answer = taken
        self.placed: list[str] = []
        self.subjects: list[tuple[str, ...]] = []
        self.requests: dict[str, Request] = {}
        self.generations: dict[str, GenerationStatus] = {}
        self.outbox: list[GenerationStatus] = []
        self.forgotten: list[str] = []
        self.away = False
        self._named: dict[str, str] = {}
        self._numbers = count(1)
        self._news = asyncio.Event()

    async def place(
        self, request: Request, request_id: str, quota_subjects: Sequence[str] = ()
    ) -> GenerationStatus | Refused | Unclear:
        self.subjects.append(tuple(quota_subjects))
        if self.away:
            return Unclear()
        self.placed.append(request_id)
        self.requests[request_id] = request
        known = self._named.get(request_id) or f"gen_{next(self._numbers)}"
        answer = self.answer(
            self.generations.get(known) or GenerationStatus(known, OrderState.PENDING, f"task_{known}")
        )
        if not isinstance(answer, Refused):
            self._named[request_id] = known
            self.generations.setdefault(known, GenerationStatus(known, OrderState.RUNNING, f"task_{known}"))
        return answer

    async def get(self, generation_id: str) -> GenerationStatus | Unclear:
        return Unclear() if self.away else self.generations[generation_id]

    async def find(self, request_id: str) -> GenerationStatus | Unclear | None:
        if self.away:
            return Unclear()
        known = self._named.get(request_id)
        return self.generations[known] if known else None

    async def forget(self, generation_id: str) -> None:
        if self.away or self.generations[generation_id].state is OrderState.RUNNING:
            raise Unavailable("Generation is busy.")
        self.forgotten.append(generation_id)

    async def events(self, after: int) -> AsyncIterator[GenerationStatus]:
        while True:
            if self.away:
                raise Unavailable("Generation is unavailable.")
            for event in self.outbox[after:]:
                yield event
                after = event.event_sequence
            await self._news.wait()
            self._news.clear()

    def end(self, generation_id: str, state: OrderState = OrderState.SUCCEEDED, reason: str = "") -> GenerationStatus:
        """End a generation, and write its event."""
        key = f"generated/{generation_id}/0.png" if state is OrderState.SUCCEEDED else ""
        status = GenerationStatus(
            generation_id, state, f"task_{generation_id}", key, reason, reason and f"Because of {reason}."
        )
        self.generations[generation_id] = status
        return self.tell(status)

    def tell(self, status: GenerationStatus) -> GenerationStatus:
        """Write an event."""
        event = replace(status, event_sequence=len(self.outbox) + 1)
        self.outbox.append(event)
        self._news.set()
        return event

    def made_for(self, request_id: str) -> str:
        """The generation of a request."""
        return self._named[request_id]


async def nothing() -> None:
    """Do nothing."""


class FakeObjects:
    """A fake of the Objects port: our own objects exist until they are deleted; other URLs are copied."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.deleted: list[str] = []
        self.away = False
        self.named: Callable[[], Awaitable[None]] = nothing
        """Awaited after a key was chosen and before it is returned."""
        self.asked: Callable[[], Awaitable[None]] = nothing
        """Awaited after a deletion was requested and before the object is deleted."""
        self._gone = {"missing.png"}

    def holds(self, key: str) -> bool:
        """Whether the bytes of a key can be read."""
        return key not in self._gone

    async def keep(self, uri: str, name: str) -> str:
        if self.away:
            raise Unavailable("Storage is unavailable.")
        own = uri.removeprefix(OURS)
        if own == uri:
            own = self.kept.setdefault((uri, name), f"generated/{name}.png")
            self._gone.discard(own)
        if own in self._gone:
            raise NotFound("There is no such object.")
        await self.named()
        return own

    async def delete(self, key: str) -> None:
        if self.away:
            raise Unavailable("Storage is unavailable.")
        await self.asked()
        self.deleted.append(key)
        self._gone.add(key)
        self.kept = {source: kept for source, kept in self.kept.items() if kept != key}
