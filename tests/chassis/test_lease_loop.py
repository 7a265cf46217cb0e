"""Leased work is done a bounded number of pieces at once; a piece that fails stops no other, and a stop loses none."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from services.chassis.errors import Unavailable
from services.chassis.lease_loop import LeasedWork, LeaseLoop, renewing
from services.chassis.notifier import Notifier
from services.chassis.parking import MAX_FAULTS, FaultStore, Parking, WorkFault
from tests.support.polling import eventually

LOOP, AT_ONCE, LEASE_SECONDS = "copy", 2, 60.0


class Poison(Exception):  # noqa: N818 - it stands for any mistake of ours
    """A mistake of ours."""


class Faults(FaultStore):
    """Failures in memory."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    async def add(self, loop: str, work_id: str, cause: str, trace: str, *, park: bool) -> WorkFault:
        self.counted[work_id] += 1
        return WorkFault(loop, work_id, self.counted[work_id], cause, trace, 1, 1, 1 if park else 0)

    async def forget(self, _loop: str, work_id: str) -> bool:
        return bool(self.counted.pop(work_id, 0))


@dataclass(frozen=True)
class Piece:
    """A piece of work."""

    id: str
    faults: int = 0


@dataclass
class Work:
    """Pieces that are due, and what happened to them."""

    due: list[str]
    errors: dict[str, Exception] = field(default_factory=dict)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    faults: list[WorkFault] = field(default_factory=list)
    postponed: list[tuple[str, Exception]] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    async def claim(self, limit: int) -> Sequence[Piece]:
        claimed, self.due = self.due[:limit], self.due[limit:]
        return [Piece(name, self.failures[name]) for name in claimed]

    async def do(self, piece: Piece) -> None:
        self.begun.append(piece.id)
        await self.held.wait()
        if piece.id in self.errors:
            raise self.errors[piece.id]
        self.done.append(piece.id)

    async def failed(self, _piece: Piece, fault: WorkFault) -> None:
        self.faults.append(fault)

    async def postpone(self, piece: Piece, error: Exception) -> None:
        self.postponed.append((piece.id, error))

    async def before_parking(self, piece: Piece) -> None:
        self.parked.append(piece.id)

    def loop(self, faults: Faults | None = None, notifier: Notifier | None = None, **changes: Any) -> LeaseLoop[Piece]:
        leased = LeasedWork(
            **{
                "loop": LOOP,
                "claim": self.claim,
                "do": self.do,
                "failed": self.failed,
                "postponed": self.postpone,
                "at_once": AT_ONCE,
                "lease_seconds": LEASE_SECONDS,
                "before_parking": self.before_parking,
                **changes,
            }
        )
        store = faults or Faults()
        self.failures = store.counted
        return LeaseLoop(leased, Parking(store, [LOOP]), notifier, LOOP)


def free(*due: str, **errors: Exception) -> Work:
    """Work of which nothing is held back."""
    work = Work(list(due), errors)
    work.held.set()
    return work


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_no_more_pieces_are_done_at_once_than_allowed_and_the_next_begins_when_one_ends() -> None:
    work = Work(["a", "b", "c"])
    running = asyncio.create_task(work.loop().run())
    await eventually(lambda: len(work.begun) == AT_ONCE)
    begun = list(work.begun)
    work.held.set()
    await eventually(lambda: len(work.done) == 3)
    await stopped(running)

    assert begun == ["a", "b"]


async def test_a_notification_ends_the_wait_for_work() -> None:
    work, notifier = free(), Notifier()
    running = asyncio.create_task(work.loop(notifier=notifier).run(look_seconds=3600))
    await asyncio.sleep(0.01)
    work.due.append("a")
    notifier.notify(LOOP)
    await eventually(lambda: work.done == ["a"])
    await stopped(running)


async def test_a_closed_notifier_ends_the_loop() -> None:
    notifier = Notifier()
    running = asyncio.create_task(free("a").loop(notifier=notifier).run(look_seconds=3600))
    await asyncio.sleep(0.01)
    notifier.close()

    await asyncio.wait_for(running, 20)


async def test_a_stop_waits_for_running_pieces_however_often_it_is_asked_for() -> None:
    work = Work(["a"])
    running = asyncio.create_task(work.loop().run())
    await eventually(lambda: work.begun)
    for _ in range(2):
        running.cancel()
        await asyncio.sleep(0.01)
    assert not running.done()
    work.held.set()
    with suppress(asyncio.CancelledError):
        await running

    assert work.done == ["a"]


async def test_a_piece_that_fails_unexpectedly_stops_no_other_and_is_parked_at_its_last_try() -> None:
    work, faults = free("bad", "good", bad=Poison()), Faults()
    faults.counted["bad"] = MAX_FAULTS - 2
    loop = work.loop(faults)
    claimed = await loop.do_due()
    work.due.append("bad")
    await loop.do_due()

    assert claimed == 2
    assert work.done == ["good"]
    assert [(fault.work_id, fault.parked, fault.pause_seconds > 0) for fault in work.faults] == [
        ("bad", False, True),
        ("bad", True, False),
    ]
    assert work.parked == ["bad"]


async def test_an_expected_error_is_handed_back_and_counts_as_no_fault() -> None:
    away, faults = Unavailable("Storage is away."), Faults()
    work = free("a", a=away)
    await work.loop(faults).do_due()

    assert work.postponed == [("a", away)]
    assert not faults.counted


async def test_an_exception_in_the_loops_own_functions_is_logged_and_stops_nothing() -> None:
    async def broken(*_: object) -> None:
        raise Poison

    work = free("bad", "good", bad=Poison())
    with structlog.testing.capture_logs() as logs:
        await work.loop(failed=broken, crash_event="callback_failed").do_due()
    crashes = [line for line in logs if line["event"] == "callback_failed"]

    assert work.done == ["good"]
    assert [(line["loop"], line["work"], type(line["exc_info"])) for line in crashes] == [(LOOP, "bad", Poison)]


@pytest.mark.parametrize(("fenced", "begun"), [(False, ["a"]), (True, ["a", "a"])])
async def test_a_piece_that_is_claimed_while_it_runs_is_begun_again_only_where_a_fence_guards_it(
    *, fenced: bool, begun: list[str]
) -> None:
    work = Work(["a"])
    running = asyncio.create_task(work.loop(fenced=fenced).run(look_seconds=0.01))
    await eventually(lambda: work.begun)
    work.due.append("a")
    await eventually(lambda: not work.due)
    await asyncio.sleep(0.01)
    found = list(work.begun)
    work.held.set()
    await stopped(running)

    assert found == begun


async def test_no_piece_is_begun_when_too_little_of_its_lease_is_left() -> None:
    work = free("a")

    assert await work.loop(begin_seconds=LEASE_SECONDS).do_due() == 1
    assert work.begun == []


async def test_a_lease_is_renewed_while_its_piece_is_done_and_not_afterwards() -> None:
    renewed: list[str] = []

    async def renew(piece: Piece) -> None:
        renewed.append(piece.id)
        if len(renewed) == 1:
            raise Unavailable("The database is away for a moment.")

    work = Work(["a"])
    doing = asyncio.create_task(work.loop(lease_seconds=0.03, renew=renew).do_due())
    await eventually(lambda: len(renewed) > 2)
    work.held.set()
    await doing
    count = len(renewed)
    await asyncio.sleep(0.05)

    assert len(renewed) == count


async def test_a_lost_lease_is_not_renewed_again() -> None:
    tries: list[None] = []

    async def renew() -> None:
        tries.append(None)
        raise Poison

    async with renewing(renew, 0.003):
        await eventually(lambda: tries)
        await asyncio.sleep(0.02)

    assert len(tries) == 1
