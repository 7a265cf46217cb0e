"""Makes generations and brings them into a state by legal moves; parks work, and lets stored rows grow old."""

from collections.abc import Iterator
from itertools import count

from sqlalchemy import func, select, update

from services.chassis.database import Database
from services.chassis.parking import MAX_FAULTS, Parking
from services.generation.model import MOVES, Attempt, Draft, Generation, State
from services.generation.ports import NOTHING
from services.generation.stores.tables import inbox, outbox
from services.generation.timing import DAY_SECONDS
from tests.support.awaited import Awaited
from tests.support.sql import execute, fetch_value

numbers: Iterator[int] = count(1)

DRAFT = Draft(
    "gpt4o-image", "a cat, 猫 🐈", ("https://example.org/a.png",), "1:1", "", {"isEnhance": True, "nVariants": 2}
)


def new(draft: Draft = DRAFT) -> Generation:
    """A generation that nobody has stored yet; later ones have greater ids."""
    return Generation(f"gen_{next(numbers):08}", draft, "gpt4o-image")


def attempt_for(generation: Generation, account: str = "one") -> Attempt:
    """A new attempt to make it."""
    return Attempt(f"att_{next(numbers):08}", generation.id, account, "print", "digest")


async def ordered(store: Awaited, request_key: str = "") -> Generation:
    """A stored order."""
    return (await store.insert(new(), request_key, "hash")).generation


async def dialed(store: Awaited) -> Generation:
    """An order whose attempt has begun, leased to us."""
    stored = await ordered(store)
    claimed = [row for row in await store.claim([State.READY], 100, 60) if row.id == stored.id]
    return await store.dial(claimed[0], attempt_for(stored))


async def brought(store: Awaited, state: State) -> Generation:
    """A generation in a state, by the shortest legal way."""
    generation = await ordered(store)
    for step in way_to(state):
        if step is State.DIALING:
            (generation,) = [r for r in await store.claim([State.READY], 100, 60) if r.id == generation.id]
            generation = await store.dial(generation, attempt_for(generation))
        else:
            generation = await store.move(generation, step, NOTHING)
    return generation


def way_to(state: State) -> list[State]:
    """The shortest legal way from READY."""
    ways: list[list[State]] = [[State.READY]]
    for way in ways:
        if way[-1] is state:
            return way[1:]
        ways += [[*way, step] for step in sorted(MOVES[way[-1]]) if step not in way]
    raise AssertionError(f"no way to {state}")


async def stumble() -> None:
    """Work at which our own code fails."""
    raise RecursionError("1,010 nested objects, and a prompt")


async def park(parking: Parking, loop: str, work_id: str) -> None:
    """Fail as often as it takes."""
    for _ in range(MAX_FAULTS):
        failed = sum(fault.count for fault in await parking.of([work_id]) if fault.loop == loop)
        await parking.attempt(loop, work_id, stumble, failed=failed)


OLD = 31 * DAY_SECONDS


async def aged(database: Database, through: int, seconds: float = OLD) -> None:
    """The events up to a sequence, and every callback, are older by so much."""
    older = update(outbox).where(outbox.c.sequence <= through)
    await execute(database, older.values(create_ms=outbox.c.create_ms - int(seconds * 1000)))
    await execute(database, update(inbox).values(create_ms=inbox.c.create_ms - int(seconds * 1000)))


async def row_count(database: Database, table: object) -> int:
    """How many rows a table has."""
    return int(await fetch_value(database, select(func.count()).select_from(table)) or 0)  # type: ignore[arg-type]
