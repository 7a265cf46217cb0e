"""What an attempt was answered is a fact: nobody needs a lease to note it, and it is noted once, on every engine."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select, text, update

from services.chassis.database import Database, Transaction, connect_database
from services.chassis.errors import AlreadyExists
from services.chassis.notifier import Notifier
from services.chassis.settings import CommonSettings
from services.generation.model import DECLINABLE, Failure, State
from services.generation.outcomes import Accepted, Ambiguous, NotSent, Outcome, Refused, Rejected
from services.generation.ports import Change, FenceLost
from services.generation.stores import attempts, generations
from services.generation.stores.tables import attempt as table
from tests.generation.builders import attempt_for, brought, dialed, ordered
from tests.generation.conftest import SERVICE
from tests.support.awaited import Awaited
from tests.support.polling import eventually
from tests.support.sql import fetch_one, fetch_value
from tests.support.transactions import open_transaction

UNSURE = (State.SENDING, State.AMBIGUOUS, State.UNKNOWN)
DIALED = sorted(set(State) - {State.READY, State.EXPIRED, State.CANCELED})


async def test_an_attempt_is_found_by_its_id(store: Awaited) -> None:
    await ordered(store)
    (ready,) = await store.claim([State.READY], 1, 60)
    attempt = attempt_for(ready)
    dialing = await store.dial(ready, attempt)

    assert dialing.attempt_id == attempt.id
    found = await store.attempt(attempt.id)
    assert found
    assert found.create_ms
    assert replace(found, create_ms=0) == attempt
    assert await store.attempt("att_nobody") is None


@pytest.mark.parametrize("state", UNSURE)
async def test_an_answer_sets_an_unsure_generation_running(store: Awaited, state: State) -> None:
    held = await brought(store, state)
    now = await store.accept(held.attempt_id, "task1", 0)

    assert (now.state, now.task_id, now.fence) == (State.RUNNING, "task1", held.fence + 1)
    assert now.submit_ms
    assert not now.complete_ms
    assert (await store.events(0, 1000))[-1].generation == now
    assert [row.id for row in await store.claim([State.RUNNING], 1, 60)] == [held.id]


@pytest.mark.parametrize("state", [state for state in DIALED if state not in UNSURE])
async def test_an_answer_leaves_any_other_state_as_it_is(store: Awaited, state: State) -> None:
    held = await brought(store, state)
    now = await store.accept(held.attempt_id, "task1", 0)

    assert (now.state, now.task_id) == (state, "task1")


async def test_an_answer_to_a_canceled_order_is_noted(store: Awaited) -> None:
    held = await brought(store, State.SENDING)
    canceled = await store.cancel(held)
    now = await store.accept(held.attempt_id, "task1", 0)

    assert (now.state, now.task_id, now.fence) == (State.CANCELED, "task1", canceled.fence)


async def test_an_answer_takes_back_the_end_of_an_unknown(store: Awaited) -> None:
    held = await brought(store, State.AMBIGUOUS)
    unknown = await store.move(held, State.UNKNOWN, Change(failure=Failure("ANSWER_LOST", "No news.")))
    now = await store.accept(unknown.attempt_id, "task1", 0)

    assert unknown.failure
    assert now.failure is None


async def test_the_first_answer_stays(store: Awaited) -> None:
    held = await brought(store, State.SENDING)
    first = await store.accept(held.attempt_id, "task1", 60)
    events = len(await store.events(0, 1000))
    again = await store.accept(held.attempt_id, "task1", 0)
    other = await store.accept(held.attempt_id, "task2", 0)

    assert first == again == other
    assert len(await store.events(0, 1000)) == events
    attempt = await store.attempt(held.attempt_id)
    assert attempt
    assert attempt.task_id == "task1"


async def test_ten_who_learn_it_at_once_set_it_running_once(store: Awaited) -> None:
    held = await brought(store, State.AMBIGUOUS)
    events = len(await store.events(0, 1000))

    accepted = await asyncio.gather(*(store.accept(held.attempt_id, "task1", 60) for _ in range(10)))

    assert [generation.state for generation in accepted] == [State.RUNNING] * 10
    assert len(await store.events(0, 1000)) == events + 1


async def blocked(database: Database) -> bool:
    """True when a transaction waits for another's; SQLite's writers queue, so there nobody has to be waited for."""
    if database.is_sqlite:
        return True
    return bool(await fetch_value(database, text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


@pytest.mark.parametrize("late", [False, True], ids=["accepted", "delivered"])
async def test_a_task_that_two_attempts_take_at_once_is_the_first_ones(
    store: Awaited, database: Database, engine: CommonSettings, *, late: bool
) -> None:
    """Neither sees the other's uncommitted row; the second hears whose it is, as one who came later does."""
    first, second = await brought(store, State.SENDING), await brought(store, State.AMBIGUOUS)
    unknown = await store.move(second, State.UNKNOWN)
    taking = store.deliver(unknown, second.attempt_id, "task1", ()) if late else None

    def accept(transaction: Transaction) -> None:
        attempts.accept(transaction, first.attempt_id, "task1")

    async with connect_database(engine, SERVICE) as replica, open_transaction(replica, accept):
        other = asyncio.create_task(taking or store.accept(second.attempt_id, "task1", 0))
        await eventually(lambda: blocked(database))

    with pytest.raises(AlreadyExists) as caught:
        await other

    assert caught.value.reason == "TASK_TAKEN"
    assert await store.get(second.id) == unknown
    found = await store.attempt_of_task("task1")
    assert found
    assert found.id == first.attempt_id


async def test_a_task_that_was_given_away_and_back_is_taken_from_nobody(
    store: Awaited, database: Database, engine: CommonSettings
) -> None:
    """Two readers of one callback learn whose a task is; the slower one must not take the holder's own task."""
    holder, rightful = await brought(store, State.SENDING), await brought(store, State.AMBIGUOUS)
    await store.accept(holder.attempt_id, "task1", 0)

    def given_back(transaction: Transaction) -> None:
        attempts.disown(transaction, holder.attempt_id, "task1")
        attempts.accept(transaction, holder.attempt_id, "task2")

    async with connect_database(engine, SERVICE) as replica, open_transaction(replica, given_back):
        slow = asyncio.create_task(store.assign(rightful.attempt_id, "task1", 0))
        await eventually(lambda: blocked(database))

    assert await slow
    found = await store.attempt(holder.attempt_id)
    assert found
    assert found.task_id == "task2"


async def test_what_only_the_database_saw_is_an_error_of_the_second_attempt(store: Awaited, database: Database) -> None:
    """Its transaction looked before the first one was committed."""
    first, second = await brought(store, State.SENDING), await brought(store, State.SENDING)
    await store.accept(first.attempt_id, "task1", 0)

    def take_unseen(transaction: Transaction) -> None:
        with attempts.one_owner():
            unseen = update(table).where(table.c.id == second.attempt_id)
            transaction.execute(unseen.values(task_id="task1"))

    with pytest.raises(AlreadyExists) as caught:
        await database.write(take_unseen)

    assert caught.value.reason == "TASK_TAKEN"


@pytest.mark.parametrize("state", [State.RUNNING, State.FAILED])
async def test_a_task_that_is_given_to_its_order_is_taken_from_the_other_one_and_told(
    store: Awaited, state: State
) -> None:
    """One that has ended keeps its end, and loses the task alone."""
    rightful, holder = await brought(store, State.AMBIGUOUS), await brought(store, State.SENDING)
    running = await store.accept(holder.attempt_id, "task1", 0)
    held = running if state is State.RUNNING else await store.move(running, state)

    assert await store.assign(rightful.attempt_id, "task1", 0)

    now = await store.get(held.id)
    ended = state is State.FAILED
    assert (now.state, now.task_id, now.fence) == (state if ended else State.AMBIGUOUS, "", held.fence + 1)
    assert (await store.events(0, 1000))[-1].generation == now


async def test_a_late_result_takes_its_order_from_whoever_copied_for_it_before(store: Awaited) -> None:
    """Its state is the same again, so that only the fence tells the two chains of work apart."""
    copying = await brought(store, State.STORING)
    lost = await store.move(copying, State.RESULT_LOST)
    delivered = await store.deliver(lost, lost.attempt_id, "task1", ())

    assert (delivered.tries, delivered.complete_ms) == (0, 0)
    with pytest.raises(FenceLost):
        await store.touch(copying, Change(progress=50))


async def test_an_answer_that_is_recorded_again_while_it_is_taken_away_counts_whole_or_not_at_all(
    store: Awaited, database: Database, engine: CommonSettings
) -> None:
    """A generation must not await a task that its attempt does not have: another order may have it by then."""
    held = await brought(store, State.SENDING)
    running = await store.accept(held.attempt_id, "task1", 0)

    def disowned(transaction: Transaction) -> None:
        attempts.disown(transaction, held.attempt_id, "task1")
        generations.disown(transaction, running, held.attempt_id, "task1", 60)

    async with connect_database(engine, SERVICE) as replica, open_transaction(replica, disowned):
        again = asyncio.create_task(store.accept(held.attempt_id, "task1", 0))

        async def met() -> bool:
            return again.done() or await blocked(database)

        await eventually(met)
    await again

    now, attempt = await store.get(held.id), await store.attempt(held.attempt_id)
    assert attempt
    assert (now.state, now.task_id, attempt.task_id) == (State.RUNNING, "task1", "task1")


async def test_a_generation_is_found_by_its_task(store: Awaited) -> None:
    held = await brought(store, State.SENDING)
    now = await store.accept(held.attempt_id, "task1", 0)

    assert await store.get("task1") == now
    attempt = await store.attempt_of_task("task1")
    assert attempt
    assert attempt.id == held.attempt_id
    assert await store.attempt_of_task("task2") is None


async def test_the_answer_to_an_earlier_attempt_is_noted_with_it_alone(store: Awaited) -> None:
    first = await dialed(store)
    ready = await store.move(first, State.READY)
    (claimed,) = await store.claim([State.READY], 1, 60)
    second = await store.dial(claimed, attempt_for(ready))
    now = await store.accept(first.attempt_id, "task1", 0)

    assert (now.state, now.attempt_id, now.task_id) == (State.DIALING, second.attempt_id, "")
    attempt = await store.attempt_of_task("task1")
    assert attempt
    assert attempt.id == first.attempt_id


async def test_a_task_that_its_generation_does_not_await_is_looked_at_all_the_same(
    store: Awaited, inbox_store: Awaited
) -> None:
    first, awaiting = await dialed(store), await brought(store, State.SENDING)
    await store.accept(awaiting.attempt_id, "task2", 0)
    assert await inbox_store.take(10) == []

    ready = await store.move(first, State.READY)
    (claimed,) = await store.claim([State.READY], 1, 60)
    await store.dial(claimed, attempt_for(ready))
    await store.accept(first.attempt_id, "task1", 0)

    (reminder,) = await inbox_store.take(10)
    assert (reminder.attempt_id, reminder.task_id) == (first.attempt_id, "task1")


@pytest.mark.parametrize(
    ("outcome", "word", "detail"),
    [
        (Accepted("task1"), "ACCEPTED", ""),
        (NotSent("ConnectError"), "NOTSENT", "ConnectError"),
        (Refused(429, "Slow down"), "REFUSED", "Slow down"),
        (Rejected(422, "No"), "REJECTED", "No"),
        (Ambiguous("x" * 2000), "AMBIGUOUS", "x" * 512),
    ],
)
async def test_the_outcome_of_an_attempt_is_kept(
    store: Awaited, database: Database, outcome: Outcome, word: str, detail: str
) -> None:
    held = await dialed(store)
    await store.note_outcome(held.attempt_id, outcome)

    row = await fetch_one(database, select(table).where(table.c.id == held.attempt_id))
    assert (row.outcome, row.detail) == (word, detail)
    assert row.answer_ms >= row.create_ms


REFUSALS = ((Refused(429, "Slow down"), State.READY), (Rejected(422, "No"), State.FAILED))


@pytest.mark.parametrize(("outcome", "state"), REFUSALS)
@pytest.mark.parametrize("before", sorted(DECLINABLE))
async def test_a_refusal_is_noted_and_followed_in_one_transaction(
    store: Awaited, before: State, outcome: Outcome, state: State
) -> None:
    held = await brought(store, before)
    declined = await store.decline(held.attempt_id, outcome, state, Change())
    now, attempt = await store.get(held.id), await store.attempt(held.attempt_id)

    assert declined
    assert attempt
    assert (attempt.outcome, now.state, now.fence) == (type(outcome).__name__.upper(), state, held.fence + 1)
    assert [event.generation.state for event in await store.events(0, 100)][-1] is state


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_refusal_is_noted_alone_once_its_order_waits_for_it_no_more(store: Awaited, *, accepted: bool) -> None:
    """Its task is known, or its owner has ended it."""
    held = await brought(store, State.SENDING)
    now = await store.accept(held.attempt_id, "task1", 0) if accepted else await store.cancel(held)
    declined = await store.decline(held.attempt_id, Refused(429, "Slow down"), State.READY, Change())
    attempt = await store.attempt(held.attempt_id)

    assert not declined
    assert attempt
    assert attempt.outcome == "REFUSED"
    assert await store.get(held.id) == now


async def test_waking_makes_a_waiting_generation_due(store: Awaited) -> None:
    held = await brought(store, State.SENDING)
    await store.accept(held.attempt_id, "task1", 3600)
    before = await store.claim([State.RUNNING], 1, 60)
    await store.wake(held.id)

    assert before == []
    assert [row.id for row in await store.claim([State.RUNNING], 1, 60)] == [held.id]


async def test_a_generation_that_is_being_read_must_be_told_again(store: Awaited) -> None:
    """The news may be younger than what the reader sees, so it must not be taken for told."""
    held = await brought(store, State.SENDING)
    await store.accept(held.attempt_id, "task1", 0)
    (reader,) = await store.claim([State.RUNNING], 1, 60)

    assert await store.wake(held.id) is False
    await store.touch(reader, Change(due_in=3600))
    assert await store.wake(held.id) is True


async def test_waking_disturbs_nobody_who_waits_for_something_else(store: Awaited) -> None:
    held = await brought(store, State.STORING)
    (claimed,) = await store.claim([State.STORING], 1, 60)
    await store.touch(claimed, Change(due_in=3600))
    await store.wake(held.id)
    await store.wake("gen_nobody")

    assert await store.claim([State.STORING], 1, 60) == []


async def test_whoever_waits_for_work_learns_of_a_waking_at_once(store: Awaited, notifier: Notifier) -> None:
    held = await brought(store, State.SENDING)
    await store.accept(held.attempt_id, "task1", 3600)

    with notifier.subscribed(State.RUNNING) as polling:
        woken = asyncio.create_task(polling.wait(3600))
        await asyncio.sleep(0)
        await store.wake(held.id)
        await asyncio.sleep(0)
        assert woken.done()
        woken.cancel()


async def test_the_reader_of_the_inbox_learns_at_once_that_a_task_was_given_away(
    store: Awaited, notifier: Notifier
) -> None:
    rightful, holder = await brought(store, State.AMBIGUOUS), await brought(store, State.SENDING)
    await store.accept(holder.attempt_id, "task1", 0)

    with notifier.subscribed("inbox") as reading:
        woken = asyncio.create_task(reading.wait(3600))
        await asyncio.sleep(0)
        await store.assign(rightful.attempt_id, "task1", 0)
        await asyncio.sleep(0)
        assert woken.done()
        woken.cancel()
