"""Work that fails with an unexpected exception, try after try, is parked where operators see it, and comes back."""

from collections.abc import AsyncIterator

import pytest
import structlog
from sqlalchemy import Column, MetaData, Table, Text, select

from services.chassis.database import Database, open_database
from services.chassis.errors import NotFound, Unavailable
from services.chassis.parking import MAX_FAULTS, FaultStore, Parking, WorkFault, not_parked, work_fault_table
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.support.sql import execute, fetch_values

LOOP = "copy"
metadata = MetaData()
faults = work_fault_table(metadata)
piece = Table("piece", metadata, Column("id", Text, primary_key=True))


class Poison(Exception):  # noqa: N818 - it stands for any mistake of ours
    """A mistake whose message quotes what it stumbled over."""


@pytest.fixture
async def database(migrated: CommonSettings) -> AsyncIterator[Database]:
    async with open_database(migrated, SERVICE) as opened:
        await opened.write(lambda transaction: metadata.create_all(transaction.connection))
        await execute(opened, piece.insert(), [{"id": "good"}, {"id": "bad"}])
        yield opened


@pytest.fixture
def parking(database: Database) -> Parking:
    return Parking(FaultStore(database, faults), [LOOP])


async def stumble() -> None:
    raise Poison("a cat on a secret sofa")


async def succeed() -> None:
    """Do it."""


async def claimed(database: Database, loop: str = LOOP) -> list[str]:
    chosen = select(piece.c.id).where(not_parked(faults, loop, piece.c.id)).order_by(piece.c.id)
    return list(await fetch_values(database, chosen))


async def failures(parking: Parking, loop: str = LOOP) -> int:
    return sum(fault.count for fault in await parking.of(["bad"]) if fault.loop == loop)


async def tried(parking: Parking, times: int, loop: str = LOOP) -> list[WorkFault]:
    found = []
    for _ in range(times):
        failed = await failures(parking, loop)
        fault = await parking.attempt(loop, "bad", stumble, failed=failed)
        assert fault
        found.append(fault)
    return found


async def test_poison_work_is_parked_after_a_bounded_number_of_tries(database: Database, parking: Parking) -> None:
    found = await tried(parking, MAX_FAULTS - 1)
    before = await claimed(database)
    (last,) = await tried(parking, 1)

    assert before == ["bad", "good"]
    assert [fault.parked for fault in found] == [False] * (MAX_FAULTS - 1)
    pauses = [fault.pause_seconds for fault in found]
    assert pauses == sorted(set(pauses))
    assert last.parked
    assert await claimed(database) == ["good"]
    assert await claimed(database, "another loop") == ["bad", "good"]
    assert await parking.listed() == [last]


async def test_released_work_is_tried_again_from_the_beginning(database: Database, parking: Parking) -> None:
    await tried(parking, MAX_FAULTS)

    assert await parking.release(LOOP, "bad")
    assert await claimed(database) == ["bad", "good"]
    assert await parking.listed() == []
    assert [fault.count for fault in await tried(parking, 2)] == [1, 2]
    assert not await parking.release(LOOP, "never heard of")


async def test_a_try_that_succeeds_forgets_the_failures_before(parking: Parking) -> None:
    await tried(parking, MAX_FAULTS - 1)
    assert await parking.attempt(LOOP, "bad", succeed, failed=MAX_FAULTS - 1) is None

    assert await failures(parking) == 0
    assert [fault.parked for fault in await tried(parking, MAX_FAULTS - 1)] == [False] * (MAX_FAULTS - 1)


async def test_what_a_loop_expects_is_no_fault_of_the_work(parking: Parking) -> None:
    async def away() -> None:
        raise Unavailable("The database is away.")

    for _ in range(MAX_FAULTS):
        with pytest.raises(Unavailable):
            await parking.attempt(LOOP, "bad", away)
        with pytest.raises(Poison):
            await parking.attempt(LOOP, "bad", stumble, expected=(Poison,))

    assert await failures(parking) == 0


async def test_the_works_own_state_is_told_before_it_is_parked(database: Database, parking: Parking) -> None:
    """A process may die in between: then the work is claimed again, and told again."""
    calls: list[list[str]] = []

    async def tell() -> None:
        calls.append(await claimed(database))

    for failed in range(MAX_FAULTS):
        await parking.attempt(LOOP, "bad", stumble, failed=failed, before_parking=tell)

    assert calls == [["bad", "good"]]


async def test_work_whose_state_cannot_be_told_is_not_parked(database: Database, parking: Parking) -> None:
    async def away() -> None:
        raise Unavailable("The database is away.")

    await tried(parking, MAX_FAULTS - 1)
    with pytest.raises(Unavailable):
        await parking.attempt(LOOP, "bad", stumble, failed=MAX_FAULTS - 1, before_parking=away)

    assert await claimed(database) == ["bad", "good"]
    assert await failures(parking) == MAX_FAULTS - 1


async def test_the_trace_is_logged_and_kept_without_what_it_stumbled_over(parking: Parking) -> None:
    with structlog.testing.capture_logs() as lines:
        (fault,) = await tried(parking, 1)

    (line,) = [line for line in lines if line["event"] == "work_failed"]
    assert line["trace"][-1].startswith("tests/chassis/test_parking.py:")
    assert line["trace"][-1].endswith(" stumble")
    assert fault.cause == f"Poison at {line['trace'][-1]}"
    assert fault.trace.splitlines() == line["trace"]
    assert "sofa" not in repr(lines) + repr(fault)


async def test_a_recursion_without_end_leaves_a_short_trace(parking: Parking) -> None:
    async def endless() -> None:
        await endless()

    fault = await parking.attempt(LOOP, "bad", endless)

    assert fault
    assert fault.cause.startswith("RecursionError at ")
    assert len(fault.trace.splitlines()) <= 20


async def test_a_release_of_what_is_not_parked_is_refused(parking: Parking) -> None:
    await tried(parking, MAX_FAULTS)

    await parking.require_parked(LOOP, "bad", "ListParkedWork")
    for loop, work_id in (("another loop", "bad"), (LOOP, "good")):
        with pytest.raises(NotFound) as refusal:
            await parking.require_parked(loop, work_id, "ListParkedWork")
        assert refusal.value.reason == "NOT_PARKED"
        assert "ListParkedWork" in refusal.value.message
