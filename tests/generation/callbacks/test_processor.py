"""A callback is a hint: it wakes its generation or lets an order adopt its task, and never moves anything itself.

Token and record say whose a task is when replies swap the ids of two orders. A callback of a lost order outlasts an
absence of the provider.
"""

import asyncio
import time
from dataclasses import replace
from itertools import permutations

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from services.chassis.database import Database, db_now
from services.chassis.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from services.chassis.lease_loop import LOOK_SECONDS
from services.chassis.supervisor import supervised
from services.generation.callbacks.late_results import LateResults
from services.generation.callbacks.processor import BEING_READ_SECONDS, FREQUENT_TRIES, CallbackProcessor
from services.generation.core.timeline import Timeline
from services.generation.model import Attempt, Callback, Draft, Generation, State
from services.generation.outcomes import (
    Accepted,
    Ambiguous,
    Completed,
    Copy,
    InProgress,
    Outcome,
    TaskFailed,
    Unreadable,
)
from services.generation.ports import Change, Page
from services.generation.stores.inbox import TAKEN_SECONDS, SqlInbox
from services.generation.stores.tables import attempt, inbox
from services.generation.stores.tables import generation as table
from services.generation.timing import RECONCILE_SECONDS
from services.generation.workers.copy import Copier
from tests.generation.harness import FAMILY, KIND, Connected, Harness, Submit, answering, make_harness
from tests.generation.waiting import reached
from tests.support.polling import eventually

URI = "https://temporary.example/a.png"


async def verdicts(harness: Harness) -> list[str]:
    """What became of each callback, oldest first."""
    async with harness.database.read() as connection:
        return list(await connection.scalars(select(inbox.c.verdict).order_by(inbox.c.id)))


async def settled(harness: Harness) -> list[str]:
    """The verdicts once all are given."""

    async def done() -> bool:
        found = await verdicts(harness)
        return bool(found) and all(found)

    await eventually(done)
    return await verdicts(harness)


async def looked_into(harness: Harness) -> None:
    """Wait until each callback was taken at least once and put back."""

    async def put_back() -> bool:
        async with harness.database.read() as connection:
            rows = (await connection.execute(select(inbox.c.tries, inbox.c.verdict))).all()
        return all(row.tries or row.verdict for row in rows)

    await eventually(put_back)


async def lost(harness: Harness) -> tuple[Generation, str]:
    """An order whose answer was lost, and the token of its attempt."""
    harness.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    created = await harness.order()
    await harness.submit()
    generation = await harness.store.get(created.id)
    assert generation.state is State.AMBIGUOUS
    return generation, harness.provider.submits[-1].token


async def running(harness: Harness) -> Generation:
    """An order that the provider draws."""
    created = await harness.order()
    await harness.submit()
    return await harness.store.get(created.id)


async def due_of(harness: Harness) -> int:
    """When the only generation is looked at next."""
    async with harness.database.read() as connection:
        return int(await connection.scalar(select(table.c.due_ms)) or 0)


async def test_an_ambiguous_order_is_never_sent_again(harness: Harness) -> None:
    generation, _ = await lost(harness)
    for _ in range(5):
        await harness.let_leases_end()
        await harness.submit()
        await harness.recover()
        await harness.poll()

    assert len(harness.provider.submits) == 1
    assert (await harness.store.get(generation.id)).state is State.UNKNOWN


async def test_a_callback_with_the_token_lets_a_lost_order_adopt_its_task(harness: Harness) -> None:
    generation, token = await lost(harness)
    harness.provider.records["task9"] = InProgress(10)
    async with harness.delivering():
        await harness.callback("task9", token)
        now = await reached(harness.store, generation.id, State.RUNNING)

    assert now.task_id == "task9"
    assert len(harness.provider.submits) == 1


async def test_an_unknown_adopts_its_task_by_callback_and_has_not_ended(harness: Harness) -> None:
    generation, token = await lost(harness)
    await harness.let_time_pass()
    await harness.recover()
    unknown = await harness.store.get(generation.id)
    harness.provider.records["task9"] = Completed((URI,))
    async with harness.running():
        await harness.callback("task9", token)
        done = await reached(harness.store, generation.id, State.SUCCEEDED)

    assert unknown.state is State.UNKNOWN
    assert unknown.failure
    assert done.failure is None
    assert done.complete_ms >= unknown.complete_ms
    assert len(harness.provider.submits) == 1


async def test_a_callback_may_come_before_the_reply(harness: Harness) -> None:
    """The provider calls back while its answer to the order is still on the wire (docs/durable-core.md#callbacks)."""
    harness.provider.records["task1"] = InProgress(5)

    async def overtaken(submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await harness.callback("task1", submit.token)
        await eventually(lambda: arrived(harness))
        return Accepted("task1")

    harness.provider.scripts.append(overtaken)
    created = await harness.order()
    async with harness.delivering():
        await harness.submit()
        await settled(harness)
    now = await harness.store.get(created.id)

    assert (now.state, now.task_id) == (State.RUNNING, "task1")
    assert len(harness.provider.submits) == 1


async def arrived(harness: Harness) -> bool:
    (listed,) = await harness.store.list(Page(10))
    return listed.task_id == "task1"


async def test_a_late_refusal_does_not_undo_an_adoption(harness: Harness) -> None:
    harness.provider.records["task1"] = InProgress(5)

    async def contradicting(submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await harness.callback("task1", submit.token)
        await eventually(lambda: arrived(harness))
        return Ambiguous("ReadTimeout")

    harness.provider.scripts.append(contradicting)
    created = await harness.order()
    async with harness.running():
        now = await reached(harness.store, created.id, State.RUNNING)

    assert now.task_id == "task1"
    assert len(harness.provider.submits) == 1


async def test_two_hundred_copies_of_a_callback_have_one_effect(harness: Harness) -> None:
    """Forty at a time: more would wait longer for SQLite's one writer than a write may, on a busy machine."""
    generation = await running(harness)
    fetched = len(harness.provider.fetches)
    kept: list[bool] = []
    async with harness.delivering():
        for _ in range(5):
            kept += await asyncio.gather(*(harness.callback("task1", code=200) for _ in range(40)))
        await settled(harness)
    await harness.poll()

    assert kept.count(True) == 1
    assert await verdicts(harness) == ["done"]
    assert len(harness.provider.fetches) == fetched + 1
    assert (await harness.store.get(generation.id)).state is State.RUNNING


async def test_a_bare_callback_for_a_known_task_wakes_it(harness: Harness) -> None:
    await running(harness)
    await harness.poll()
    asleep = await due_of(harness)
    async with harness.delivering():
        await harness.callback("task1")
        await settled(harness)

    assert await due_of(harness) < asleep


class RecordingInbox(SqlInbox):
    """The inbox, which notes for how long callbacks are put off, and whether that counts as a look."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness.database, harness.notifier)
        self.pauses: list[tuple[float, bool]] = []

    async def postpone(self, callback: Callback, due_in: float, *, counted: bool = True) -> None:
        self.pauses.append((due_in, counted))
        await super().postpone(callback, due_in, counted=counted)


async def test_a_callback_of_a_record_that_is_being_read_waits_for_the_reader_and_not_for_its_own_lease(
    harness: Harness,
) -> None:
    await running(harness)
    await harness.let_time_pass()
    (reader,) = await harness.store.claim([State.RUNNING], 1, 3600)
    recorded = RecordingInbox(harness)
    recording = replace(harness, inbox=recorded)
    async with recording.delivering():
        await recording.callback("task1")
        await eventually(lambda: bool(recorded.pauses), 20)
        await harness.store.touch(reader, Change(due_in=3600))
        assert await settled(harness) == ["done"]

    assert set(recorded.pauses) == {(BEING_READ_SECONDS, True)}


class AwayStore:
    """The store, whose database is away for the first looks at an attempt."""

    def __init__(self, harness: Harness, looks: int) -> None:
        self._store = harness.store
        self._looks = looks

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def attempt(self, attempt_id: str) -> Attempt | None:
        self._looks -= 1
        if self._looks >= 0:
            raise Unavailable("The database is away.")
        return await self._store.attempt(attempt_id)


async def test_a_database_that_is_away_is_no_fault_of_the_callback(harness: Harness) -> None:
    """It is neither counted as a look, of which there are only so many, nor logged with a trace."""
    generation, token = await lost(harness)
    harness.provider.records["task9"] = InProgress(1)
    await harness.callback("task9", token)
    store = AwayStore(harness, FREQUENT_TRIES + 3)
    workers = harness.workers
    late_results, recorded = LateResults(harness.store, harness.storage, harness.timing), RecordingInbox(harness)
    processor = CallbackProcessor(
        store, recorded, harness.notifier, workers.poller, late_results, parking=harness.parking
    )  # type: ignore[arg-type] # passes on what it is not
    with capture_logs() as logs:
        async with supervised([processor.run]):
            while (await harness.store.get(generation.id)).state is not State.RUNNING:
                await harness.let_time_pass()
                await asyncio.sleep(0.005)

    away = [line for line in logs if line["event"] == "callback_postponed"]
    assert len(away) == FREQUENT_TRIES + 3
    assert recorded.pauses.count((LOOK_SECONDS, False)) == len(away)
    assert not [line for line in logs if line.get("exc_info")]


async def test_a_bare_callback_for_an_unknown_task_ends_as_unknown(harness: Harness) -> None:
    generation, _ = await lost(harness)
    events = await harness.store.events(0, 100)
    await harness.callback("task-of-somebody")
    async with harness.delivering():
        while not all(await verdicts(harness)):
            await harness.let_time_pass()
            await asyncio.sleep(0.005)

    assert await verdicts(harness) == ["unknown"]
    assert (await harness.store.get(generation.id)).state in {State.AMBIGUOUS, State.UNKNOWN}
    assert await harness.store.events(0, 100) == events


async def test_a_bare_callback_that_overtakes_the_reply_is_kept_until_it_fits(harness: Harness) -> None:
    await harness.callback("task1")
    async with harness.delivering():
        await looked_into(harness)
        generation = await running(harness)
        await harness.let_time_pass()
        await settled(harness)

    assert await verdicts(harness) == ["done"]
    assert (await harness.store.get(generation.id)).state is State.RUNNING


async def test_a_task_that_the_provider_does_not_show_is_not_adopted(harness: Harness) -> None:
    """Whoever holds the token could name any task; only one that the account really has is believed."""
    generation, token = await lost(harness)
    async with harness.delivering():
        await harness.callback("forged", token)
        await looked_into(harness)
        now = await harness.store.get(generation.id)
        harness.provider.records["forged"] = Completed((URI,))
        harness.provider.owners["forged"] = "somebody else"
        await harness.let_time_pass()
        await looked_into(harness)

    assert (now.state, now.task_id) == (State.AMBIGUOUS, "")
    assert (await harness.store.get(generation.id)).task_id == ""


async def test_a_task_of_another_order_is_not_adopted(harness: Harness) -> None:
    """Its own token came with it."""
    other = await running(harness)
    its_token = harness.provider.submits[-1].token
    generation, token = await lost(harness)
    harness.provider.records[other.task_id] = Completed((URI,))
    async with harness.delivering():
        await harness.callback(other.task_id, its_token)
        await settled(harness)
        await harness.callback(other.task_id, token)
        await settled(harness)

    assert await verdicts(harness) == ["done", "foreign"]
    assert (await harness.store.get(generation.id)).task_id == ""
    assert (await harness.store.get(other.task_id)).id == other.id


async def test_one_poisoned_callback_does_not_stop_the_others(harness: Harness) -> None:
    poisoned, token = await lost(harness)
    generation, good = await lost(harness)
    harness.provider.records.update(task8=InProgress(1), task9=InProgress(1))
    honest = harness.provider.fetch

    async def fetch(task_id: str, key: object) -> object:
        if task_id == "task8":
            raise ZeroDivisionError
        return await honest(task_id, key)  # type: ignore[arg-type] # passed on as it came

    harness.provider.fetch = fetch  # type: ignore[method-assign, assignment] # a provider that breaks its promise
    async with harness.delivering():
        await harness.callback("task8", token)
        await harness.callback("task9", good)
        await reached(harness.store, generation.id, State.RUNNING)

    assert (await harness.store.get(poisoned.id)).state is State.AMBIGUOUS


@pytest.mark.parametrize("order", [(501, 200), (200, 501)])
async def test_the_record_decides_and_not_the_order_of_callbacks(harness: Harness, order: tuple[int, int]) -> None:
    generation = await running(harness)
    harness.provider.records["task1"] = Completed((URI,))
    async with harness.running():
        for code in order:
            await harness.callback("task1", code=code)
        done = await reached(harness.store, generation.id, State.SUCCEEDED)

    assert done.failure is None


async def test_a_callback_that_says_failed_fails_nothing(harness: Harness) -> None:
    generation = await running(harness)
    harness.provider.records["task1"] = InProgress(50)
    async with harness.delivering():
        await harness.callback("task1", code=501)
        await settled(harness)
    await harness.poll()

    assert (await harness.store.get(generation.id)).state is State.RUNNING


@pytest.mark.parametrize("token", ["x", ".", "att_1.", ".secret", "att_nobody.secret", "a\x00b.c", "/../x.y", "é.ü"])
async def test_a_token_that_is_not_ours_is_refused(harness: Harness, token: str) -> None:
    await lost(harness)

    with pytest.raises(PermissionDenied) as caught:
        await harness.callback("task9", token)

    assert caught.value.reason == "INVALID_TOKEN"
    assert await verdicts(harness) == []


async def test_a_token_must_be_right_to_the_last_letter(harness: Harness) -> None:
    _, token = await lost(harness)
    _, other = await lost(harness)
    swapped = f"{token.partition('.')[0]}.{other.partition('.')[2]}"

    for forged in (token[:-1], token + "x", swapped, token.partition(".")[0]):
        with pytest.raises(PermissionDenied):
            await harness.callback("task9", forged)
    assert await verdicts(harness) == []


async def test_a_callback_of_an_unknown_kind_is_refused(harness: Harness) -> None:
    with pytest.raises(NotFound):
        await harness.receiver.receive("video-generated", "", b'{"taskId":"a"}', {})


async def test_an_unsigned_callback_is_refused_once_a_key_is_set(harness: Harness) -> None:
    harness = replace(harness, callback_keys=("webhook-key",))

    with pytest.raises(Unauthenticated):
        await harness.callback("task1")

    assert await verdicts(harness) == []


async def test_a_body_of_no_known_shape_is_refused(harness: Harness) -> None:
    with pytest.raises(InvalidArgument):
        await harness.receiver.receive(KIND, "", b"<html>", {})


async def test_a_failed_task_is_adopted_and_fails_its_order(harness: Harness) -> None:
    generation, token = await lost(harness)
    harness.provider.records["task9"] = TaskFailed(501, "It failed.")
    async with harness.running():
        await harness.callback("task9", token, code=501)
        ended = await reached(harness.store, generation.id, State.FAILED)

    assert ended.failure
    assert ended.failure.message == "It failed."


async def test_an_upstream_that_is_away_postpones_the_adoption(harness: Harness) -> None:
    generation, token = await lost(harness)
    harness.provider.records["task9"] = Unreadable("HTTP 502")
    async with harness.delivering():
        await harness.callback("task9", token)
        await looked_into(harness)
        harness.provider.records["task9"] = InProgress(1)
        await harness.let_time_pass()
        now = await reached(harness.store, generation.id, State.RUNNING)

    assert now.task_id == "task9"


async def opened(harness: Harness) -> list[str]:
    """The tasks that open callbacks name."""
    async with harness.database.read() as connection:
        return list(await connection.scalars(select(inbox.c.task_id).where(inbox.c.verdict == "").order_by(inbox.c.id)))


async def failed(harness: Harness) -> tuple[Generation, str]:
    """An order whose record said that it failed, and the token of its attempt."""
    generation = await running(harness)
    harness.provider.records["task1"] = TaskFailed(501, "It failed.")
    await harness.let_time_pass()
    await harness.poll()
    assert (await harness.store.get(generation.id)).state is State.FAILED
    return generation, harness.provider.submits[-1].token


@pytest.mark.parametrize("way", ["token", "bare"])
async def test_a_success_told_of_a_failed_order_is_believed_if_its_record_says_so(harness: Harness, way: str) -> None:
    """Fail, then success for one task: the picture was made and paid for, and is kept exactly once."""
    generation, token = await failed(harness)
    token = token if way == "token" else ""
    harness.provider.records["task1"] = Completed((URI,))
    async with harness.running():
        await harness.callback("task1", token)
        done = await reached(harness.store, generation.id, State.SUCCEEDED)
        await harness.callback("task1", token)
        await settled(harness)

    assert (done.failure, [output.source_uri for output in done.outputs]) == (None, [URI])
    assert [asked[:2] for asked in harness.storage.asked] == [(generation.id, 0)]
    assert len(harness.provider.submits) == 1


async def test_a_failure_told_of_a_failed_order_changes_nothing(harness: Harness) -> None:
    generation, token = await failed(harness)
    async with harness.delivering():
        await harness.callback("task1", token, code=501)
        await settled(harness)

    assert await verdicts(harness) == ["failed"]
    assert (await harness.store.get(generation.id)).state is State.FAILED


async def test_a_record_that_contradicts_a_success_is_read_again(harness: Harness) -> None:
    """The callback was heard before the record said failed, for a moment: nobody tells of the success a second time."""
    generation = await running(harness)
    async with harness.delivering():
        await harness.callback("task1", harness.provider.submits[-1].token)
        await settled(harness)
    harness.provider.records["task1"] = TaskFailed(501, "It failed.")
    await harness.let_time_pass()
    await harness.poll()
    failed_first = (await harness.store.get(generation.id)).state
    async with harness.running():
        await harness.let_time_pass()
        await looked_into(harness)
        harness.provider.records["task1"] = Completed((URI,))
        await until_state(harness, generation, State.SUCCEEDED)

    assert failed_first is State.FAILED
    assert len(harness.storage.asked) == 1


async def until_state(harness: Harness, generation: Generation, state: State) -> None:
    async def there() -> bool:
        await harness.let_time_pass()
        return (await harness.store.get(generation.id)).state is state

    await eventually(there)


async def looked_often(harness: Harness, tries: int) -> None:
    """Wait until the callbacks were looked at that often, or are closed."""

    async def so_often() -> bool:
        await harness.let_time_pass()
        async with harness.database.read() as connection:
            rows = (await connection.execute(select(inbox.c.tries, inbox.c.verdict))).all()
        return all(row.tries >= tries or row.verdict for row in rows)

    await eventually(so_often)


async def test_a_task_that_is_shown_late_finds_its_order_all_the_same(harness: Harness) -> None:
    """NotVisible for longer than ten minutes: whoever knew the token is heard out for as long as results are kept."""
    generation, token = await lost(harness)
    await harness.callback("task9", token)
    async with harness.running():
        await looked_often(harness, FREQUENT_TRIES + 2)
        waiting = await opened(harness)
        harness.provider.records["task9"] = Completed((URI,))
        await until_state(harness, generation, State.SUCCEEDED)

    assert waiting == ["task9"]
    assert len(harness.provider.submits) == 1


async def test_a_late_task_is_asked_for_ever_less_and_not_beyond_what_the_provider_keeps(harness: Harness) -> None:
    await lost(harness)
    token = harness.provider.submits[-1].token
    await harness.callback("task9", token)
    dues = []
    for days in (1, 13, 15):
        async with harness.database.write() as connection:
            aged = inbox.c.due_ms - days * 86_400_000
            await connection.execute(update(inbox).values(tries=FREQUENT_TRIES, due_ms=0, create_ms=aged))
        async with harness.delivering():
            await looked_often_once(harness)
        async with harness.database.read() as connection:
            row = (await connection.execute(select(inbox.c.due_ms - db_now(), inbox.c.verdict))).one()
        dues.append((row[0] > 1_800_000, row.verdict))
        async with harness.database.write() as connection:
            await connection.execute(update(inbox).values(due_ms=db_now()))

    assert dues[:2] == [(True, ""), (True, "")]
    assert dues[2][1] == "unknown"


async def looked_often_once(harness: Harness) -> None:
    async def put_back() -> bool:
        async with harness.database.read() as connection:
            row = (await connection.execute(select(inbox.c.due_ms - db_now(), inbox.c.verdict))).one()
        return bool(row.verdict) or row[0] > 60_000

    await eventually(put_back)


async def test_a_repetition_opens_a_callback_again_that_was_given_up(harness: Harness) -> None:
    await harness.callback("task1")
    async with harness.delivering():
        await looked_often(harness, FREQUENT_TRIES + 1)
    given_up = await verdicts(harness)
    await running(harness)
    async with harness.delivering():
        accepted = await harness.callback("task1")
        await settled(harness)

    assert (given_up, accepted) == (["unknown"], False)
    assert await verdicts(harness) == ["done"]


async def test_one_slow_late_result_does_not_hold_up_the_inbox(harness: Harness) -> None:
    generation, token = await lost(harness)
    harness.provider.records["task9"] = Completed((URI,))
    await harness.store.accept(generation.attempt_id, "task9", 0)
    await harness.poll()
    await harness.copy()
    harness.provider.records["late"] = Completed((f"{URI}?late",))
    release, asked, honest = asyncio.Event(), asyncio.Event(), harness.storage.copy

    async def slow(*arguments: object) -> object:
        asked.set()
        await release.wait()
        return await honest(*arguments)  # type: ignore[arg-type] # passed on as it came

    harness.storage.copy = slow  # type: ignore[method-assign, assignment] # a source that takes minutes
    other, its_token = await lost(harness)
    harness.provider.records["task8"] = InProgress(1)
    async with harness.delivering():
        await harness.callback("late", token)
        await asyncio.wait_for(asked.wait(), 20)
        await harness.callback("task8", its_token)
        await reached(harness.store, other.id, State.RUNNING)
        still_open = await opened(harness)
        release.set()
        await settled(harness)

    assert "late" in still_open
    assert len((await harness.store.get(generation.id)).outputs) == 2


async def test_a_reply_with_the_id_of_another_order_is_a_lost_answer(harness: Harness) -> None:
    """The provider answers two orders with one id: the second's own comes by its callback."""
    first = await running(harness)
    harness.provider.scripts.append(answering(Accepted("task1")))
    harness.provider.scripts.append(answering(Accepted("task1")))
    second, third = await harness.order(), await harness.order()
    await harness.submit()
    same_account = [
        generation
        for generation in [await harness.store.get(second.id), await harness.store.get(third.id)]
        if generation.state is State.AMBIGUOUS
    ]
    assert same_account, "of three orders at two accounts two share one, and so one id"
    lost = same_account[0]
    token = next(s.token for s in harness.provider.submits if s.token.startswith(lost.attempt_id))
    harness.provider.records["own"] = Completed((URI,))
    async with harness.running():
        await harness.callback("own", token)
        done = await reached(harness.store, lost.id, State.SUCCEEDED)

    assert (done.task_id, len(done.outputs)) == ("own", 1)
    assert (await harness.store.get(first.id)).attempt_id == first.attempt_id
    assert len(harness.provider.submits) == 3


@pytest.mark.parametrize("answered", ["unknown", "task1"])
async def test_a_reply_with_an_id_that_its_account_does_not_show_loses_nothing(harness: Harness, answered: str) -> None:
    """Of another account's task, or of none: the callback with the token names the one that was made."""
    other = await running(harness)
    harness.provider.records["task1"] = InProgress(5)
    harness.provider.scripts.append(answering(Accepted(answered)))
    order = await harness.order()
    await harness.submit()
    generation = await harness.store.get(order.id)
    token = harness.provider.submits[-1].token
    harness.provider.records["own"] = Completed((URI,))
    async with harness.running():
        await harness.callback("own", token)
        done = await reached(harness.store, generation.id, State.SUCCEEDED)

    assert (done.task_id, [output.source_uri for output in done.outputs]) == ("own", [URI])
    assert (await harness.store.get(other.id)).state is State.RUNNING
    assert len(harness.provider.submits) == 2


TASK = "task-lost"

LEASE_SECONDS = 0.3


async def called_back_while_the_provider_is_away(harness: Harness) -> Generation:
    """An order whose answer was lost, and whose callback has come; its record cannot be read."""
    harness.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    harness.provider.records[TASK] = Unreadable("HTTP 502 without JSON")
    created = await harness.order()
    await harness.submit()
    await harness.callback(TASK, harness.provider.submits[-1].token)
    return await harness.store.get(created.id)


async def asked(harness: Harness, **columns: int) -> str:
    """What becomes of the callback when it is read as if it had been tried, or kept, for that long."""
    async with harness.database.write() as connection:
        await connection.execute(update(inbox).values(due_ms=0, **columns))
    async with harness.delivering():
        await eventually(lambda: put_down(harness))
    async with harness.database.read() as connection:
        return str(await connection.scalar(select(inbox.c.verdict)))


async def put_down(harness: Harness) -> bool:
    """Whether the callback is closed, or left for longer than a reader holds it."""
    async with harness.database.read() as connection:
        row = (await connection.execute(select(inbox.c.verdict, inbox.c.due_ms))).one()
    return bool(row.verdict) or row.due_ms > (time.time() + TAKEN_SECONDS + 5) * 1000


async def test_a_lost_order_adopts_its_task_although_the_provider_was_away_for_hours(harness: Harness) -> None:
    generation = await called_back_while_the_provider_is_away(harness)
    assert await asked(harness, tries=FREQUENT_TRIES + 20) == ""

    harness.provider.records[TASK] = InProgress(5)
    assert await asked(harness, tries=FREQUENT_TRIES + 20) == "done"
    assert (await harness.store.get(generation.id)).task_id == TASK


async def test_nobody_asks_for_longer_than_the_provider_keeps_results(harness: Harness) -> None:
    await called_back_while_the_provider_is_away(harness)

    assert await asked(harness, tries=FREQUENT_TRIES + 20, create_ms=int(-RECONCILE_SECONDS * 1000)) == "unknown"


async def test_a_long_copy_keeps_its_lease_and_a_short_one_gives_it_back(harness: Harness) -> None:
    """A dead process's work waits one lease, so the lease is shorter than the work it protects."""
    release, entered = asyncio.Event(), asyncio.Event()

    async def keep(*_: object) -> Copy:
        entered.set()
        await release.wait()
        return Copy("generated/x/0.png", "image/png", 7)

    harness.storage.copy = keep  # type: ignore[method-assign]
    harness.provider.records["task1"] = Completed(("https://temporary.example/a.png",))
    created = await harness.order()
    await harness.submit()
    await harness.let_time_pass()
    await harness.poll()
    workers = replace(harness.workers, timing=replace(harness.workers.timing, lease=LEASE_SECONDS))
    copier = Copier(workers.store, workers.storage, workers.key_pool, workers.providers, workers.timing)
    worker = asyncio.create_task(workers.lease_loop((State.STORING,), 1, copier.copy).run())
    await entered.wait()
    first = await lease_of(harness)
    await eventually(lambda: prolonged(harness, first))
    release.set()
    await eventually(lambda: ended(harness, created.id))
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    assert await lease_of(harness) == 0


async def lease_of(harness: Harness) -> int:
    async with harness.database.read() as connection:
        return int(await connection.scalar(select(table.c.lease_until_ms)) or 0)


async def prolonged(harness: Harness, first: int) -> bool:
    return await lease_of(harness) > first


async def ended(harness: Harness, identifier: str) -> bool:
    return (await harness.store.get(identifier)).state is State.SUCCEEDED


CAT, DOG = (f"https://temporary.example/{name}.png" for name in ("cat", "dog"))

STEPS = ("webhook of the cat", "webhook of the dog", "poll and copy")


@pytest.fixture
async def core(database: Database) -> Harness:
    """The core with one account, on each engine."""
    return await make_harness(database, ("one",))


class Pair:
    """Two orders of one account, and what the provider drew for each."""

    def __init__(self, harness: Harness, cat: Generation, dog: Generation) -> None:
        self.harness, self.cat, self.dog = harness, cat, dog
        harness.provider.records.update(cat=Completed((CAT,)), dog=Completed((DOG,)))
        harness.provider.prompts.update(cat="a cat", dog="a dog")

    async def webhook(self, task: str, code: int = 200) -> None:
        mine = self.cat if task == "cat" else self.dog
        now = await self.harness.store.get(mine.id)
        token = next(s.token for s in self.harness.provider.submits if s.draft.prompt == now.draft.prompt)
        await self.harness.callback(task, token, code)

    async def do(self, step: str) -> None:
        harness = self.harness
        match step:
            case "webhook of the cat" | "webhook of the dog":
                await self.webhook(step.rpartition(" ")[2])
                async with harness.delivering():
                    await eventually(self._read)
            case _:
                await harness.let_time_pass()
                await harness.poll()
                await harness.copy()

    async def _read(self) -> bool:
        """Of every callback, and reminder, something was made."""
        await self.harness.let_time_pass()
        async with self.harness.database.read() as connection:
            return await connection.scalar(select(inbox.c.id).where(inbox.c.verdict == "")) is None

    async def ended(self) -> tuple[Generation, Generation]:
        """Both with their own pictures, with all loops at work."""

        async def both() -> bool:
            await self.harness.let_time_pass()
            cat, dog = await self.harness.store.get(self.cat.id), await self.harness.store.get(self.dog.id)
            return CAT in uris(cat) and DOG in uris(dog) and all(o.key for o in (*cat.outputs, *dog.outputs))

        async with self.harness.running():
            await eventually(both)
        return await self.harness.store.get(self.cat.id), await self.harness.store.get(self.dog.id)


def uris(generation: Generation) -> list[str]:
    return [output.source_uri for output in generation.outputs]


async def ordered(core: Harness, *answers: Accepted | Ambiguous) -> Pair:
    """Orders of a cat and a dog, answered so."""
    core.provider.scripts.extend(map(answering, answers))
    cat = await core.order(draft=Draft(FAMILY, "a cat"))
    await core.submit()
    dog = await core.order(draft=Draft(FAMILY, "a dog"))
    await core.submit()
    return Pair(core, await core.store.get(cat.id), await core.store.get(dog.id))


async def tasks(core: Harness) -> list[str]:
    async with core.database.read() as connection:
        return sorted(filter(None, await connection.scalars(select(attempt.c.task_id))))


REPLIES = {
    "swapped": (Accepted("dog"), Accepted("cat")),
    "the other's to both": (Accepted("dog"), Accepted("dog")),
    "the other's, and none": (Accepted("dog"), Ambiguous("ReadTimeout")),
}


@pytest.mark.parametrize("replies", REPLIES)
@pytest.mark.parametrize("steps", list(permutations(STEPS)), ids=", ".join)
async def test_each_order_gets_its_own_picture_once(core: Harness, replies: str, steps: tuple[str, ...]) -> None:
    pair = await ordered(core, *REPLIES[replies])
    for step in steps:
        await pair.do(step)
    cat, dog = await pair.ended()

    assert (cat.state, dog.state) == (State.SUCCEEDED, State.SUCCEEDED)
    assert (uris(cat).count(CAT), uris(dog).count(DOG)) == (1, 1)
    assert len(core.provider.submits) == 2
    assert await core.parking.listed() == []
    webhooks_first = steps[-1] == "poll and copy"
    if webhooks_first:
        assert (uris(cat), uris(dog)) == ([CAT], [DOG])
        assert await tasks(core) == ["cat", "dog"]


async def test_an_order_that_loses_a_wrong_task_is_one_whose_answer_was_lost(core: Harness) -> None:
    pair = await ordered(core, *REPLIES["the other's, and none"])
    await pair.do("webhook of the dog")
    cat, dog = await core.store.get(pair.cat.id), await core.store.get(pair.dog.id)

    assert (cat.state, cat.task_id, dog.state, dog.task_id) == (State.AMBIGUOUS, "", State.RUNNING, "dog")
    await core.let_time_pass()
    await core.recover()
    assert (await core.store.get(cat.id)).state is State.UNKNOWN


async def test_a_failure_that_was_told_of_early_is_heard_when_the_wrong_task_is_gone(core: Harness) -> None:
    pair = await ordered(core, *REPLIES["swapped"])
    core.provider.records.update(cat=TaskFailed(501, "It failed."), dog=InProgress(10))
    await pair.webhook("cat", 501)
    await pair.webhook("dog")

    async def is_contradicted() -> bool:
        await core.let_time_pass()
        return (await core.store.get(pair.cat.id)).state is State.FAILED

    async with core.running():
        await eventually(is_contradicted)
        core.provider.records["dog"] = Completed((DOG,))

        async def drawn() -> bool:
            await core.let_time_pass()
            return (await core.store.get(pair.dog.id)).state is State.SUCCEEDED

        await eventually(drawn)
    assert uris(await core.store.get(pair.dog.id)) == [DOG]


async def test_a_task_that_its_own_token_named_is_taken_by_no_other(core: Harness) -> None:
    pair = await ordered(core, Accepted("cat"), Ambiguous("ReadTimeout"))
    del core.provider.prompts["cat"]  # the record quotes none, and so proves nothing against the other token
    await pair.do("webhook of the cat")
    (token,) = [s.token for s in core.provider.submits if s.draft.prompt == "a dog"]
    await core.callback("cat", token)
    async with core.delivering():
        await eventually(lambda: foreign(core))

    assert (await core.store.get(pair.cat.id)).task_id == "cat"
    assert (await core.store.get(pair.dog.id)).task_id == ""


async def foreign(core: Harness) -> bool:
    async with core.database.read() as connection:
        return await connection.scalar(select(inbox.c.id).where(inbox.c.verdict == "foreign")) is not None


async def test_an_operator_may_adopt_a_task_that_a_reply_gave_to_another_order(core: Harness) -> None:
    pair = await ordered(core, *REPLIES["the other's, and none"])
    timeline = Timeline(core.store, core.workers.poller, core.key_pool, core.parking)
    await timeline.adopt(pair.dog.attempt_id, "dog")

    assert (await core.store.get(pair.dog.id)).task_id == "dog"
    assert (await core.store.get(pair.cat.id)).state is State.AMBIGUOUS


async def test_an_operator_may_not_adopt_a_task_whose_record_fits_its_holder(core: Harness) -> None:
    pair = await ordered(core, Accepted("cat"), Ambiguous("ReadTimeout"))
    del core.provider.prompts["cat"]
    timeline = Timeline(core.store, core.workers.poller, core.key_pool, core.parking)

    with pytest.raises(AlreadyExists):
        await timeline.adopt(pair.dog.attempt_id, "cat")

    assert (await core.store.get(pair.cat.id)).task_id == "cat"
