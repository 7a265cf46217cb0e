"""Leases, the SENDING mark and the answers of the provider are written before everything else that waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from threading import Event
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.chassis.database import Database, Transaction
from services.generation.key_pool.pool import Key, KeyPool
from services.generation.model import State
from services.generation.outcomes import Accepted, Ambiguous, NotSent, Outcome, Rejected
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from services.generation.stores.key_pool import SqlKeyPool
from services.generation.workers.leases import Leases
from services.generation.workers.submit import SubmitConnection
from tests.generation.builders import attempt_for, brought, dialed, ordered
from tests.generation.harness import CREATES, Harness, keys_of
from tests.support.polling import eventually

CROWD = 100  # more than one group of SQLite's writer takes
KEY = keys_of()[0]


class Recorded:
    """A store that notes in which order its functions are run."""

    def __init__(self, store: object, served: list[str]) -> None:
        self._store, self._served = store, served

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._store, name)

        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            self._served.append(name)
            return function(*arguments, **options)

        return call


class Lanes:
    """The database; it notes what is to be written before all that waits, and what in turn."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.urgent: list[str] = []
        self.ordinary: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def write(self, function: Any, *arguments: Any, **options: Any) -> Any:
        self.ordinary.append(function.__name__)
        return self._database.write(function, *arguments, **options)

    def write_urgently(self, function: Any, *arguments: Any, **options: Any) -> Any:
        self.urgent.append(function.__name__)
        return self._database.write_urgently(function, *arguments, **options)


def waiting() -> float:
    """How many functions wait for the writer."""
    return REGISTRY.get_sample_value("kawaii_database_queued", {"kind": "write"}) or 0.0


async def first_served(database: Database, served: list[str], work: Callable[[], Awaitable[object]]) -> str:
    """What is run first, when the work comes last to a writer that is held up."""
    begun, ending = Event(), Event()

    def hold(_transaction: Transaction) -> None:
        begun.set()
        ending.wait()

    before, tasks = waiting(), [asyncio.ensure_future(database.write(hold))]
    try:
        await eventually(begun.is_set)
        tasks += [asyncio.create_task(database.write(lambda _: served.append("crowd"))) for _ in range(CROWD)]
        await eventually(lambda: waiting() == before + CROWD)
        tasks.append(asyncio.ensure_future(work()))
        await eventually(lambda: waiting() == before + CROWD + 1)
        served.clear()  # of what was read before
    finally:
        ending.set()
        await asyncio.gather(*tasks)
    return served[0]


async def test_a_claim_a_hold_and_a_renewal_go_first(harness: Harness) -> None:
    served: list[str] = []
    leases = Leases(harness.database, Recorded(SqlGenerationStore(), served), 60)  # type: ignore[arg-type]
    await ordered(harness.store)
    (claimed,) = await leases.claim([State.READY], 1)
    other = await ordered(harness.store)

    async def held() -> None:
        async with leases.held(other):
            pass

    first = [
        await first_served(harness.database, served, lambda: leases.renew(claimed)),
        await first_served(harness.database, served, held),
    ]
    await ordered(harness.store)
    first.append(await first_served(harness.database, served, lambda: leases.claim([State.READY], 1)))

    assert first == ["renew", "hold", "claim"]


async def test_the_mark_before_the_first_byte_goes_first(harness: Harness) -> None:
    served: list[str] = []
    recorded: Any = Recorded(SqlGenerationStore(), served)
    connection = SubmitConnection(harness.database, recorded, await dialed(harness.store))

    assert await first_served(harness.database, served, connection.connected) == "move"
    assert connection.generation.state is State.SENDING


@pytest.mark.parametrize(
    ("outcome", "written"),
    [
        (Accepted("task1"), ["accept", "note_outcome"]),
        (NotSent("ConnectError"), ["decline"]),
        (Rejected(422, "No"), ["decline"]),
        (Ambiguous("ReadTimeout"), ["note_outcome", "move"]),
    ],
)
async def test_an_answer_goes_first(harness: Harness, outcome: Outcome, written: list[str]) -> None:
    """Each of its writes, one after the other."""
    served: list[str] = []
    recorded: Any = Recorded(SqlGenerationStore(), served)
    lanes: Any = Lanes(harness.database)
    submitter = replace(harness, database=lanes, sql_store=recorded).workers.submitter
    sending = await brought(harness.store, State.SENDING)
    attempt = replace(attempt_for(sending), id=sending.attempt_id)

    async def settle() -> None:
        await submitter._settle(sending, attempt, KEY, outcome)

    assert await first_served(harness.database, served, settle) == written[0]
    assert (lanes.urgent, lanes.ordinary) == (written, [])


async def test_a_rest_after_a_refusal_goes_first(harness: Harness) -> None:
    served: list[str] = []
    recorded: Any = Recorded(SqlKeyPool(keys_of(), CREATES), served)
    pool = KeyPool(harness.database, recorded, keys_of())

    async def refuse() -> None:
        await pool.refused(Key.of("one", "key-of-one"), 429, None)

    assert await first_served(harness.database, served, refuse) == "refused"


async def test_taking_a_callback_goes_first(harness: Harness) -> None:
    served: list[str] = []
    recorded: Any = Recorded(SqlInbox(), served)
    processor = replace(harness, sql_inbox=recorded).workers.processor

    assert await first_served(harness.database, served, processor._loop.do_due) == "take"


async def test_an_idle_loop_writes_nothing(harness: Harness) -> None:
    served: list[str] = []
    leases = Leases(harness.database, Recorded(SqlGenerationStore(), served), 60)  # type: ignore[arg-type]

    assert await leases.claim([State.READY], 10) == []
    assert await leases.claim([State.READY], 0) == []
    assert served == ["any_due"]
