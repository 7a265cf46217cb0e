"""A task's record is read until it is final; one that takes longer than its model may is timed out, and read on."""

from dataclasses import replace

import pytest

from catalogue import MODELS
from services.generation.model import State
from services.generation.outcomes import Completed, InProgress, NotVisible, Record, TaskFailed, Unreadable
from tests.generation.harness import DRAFT, Harness
from tests.generation.waiting import after

FIRST = "https://temporary.example/a.png"


async def test_a_task_that_failed_upstream_has_failed(harness: Harness) -> None:
    generation = await harness.submitted()
    harness.provider.records[generation.task_id] = TaskFailed(400, "The prompt was flagged.")
    await harness.poll()
    ended = await harness.store.get(generation.id)

    assert ended.state is State.FAILED
    assert ended.failure
    assert (ended.failure.reason, ended.failure.provider_code) == ("PROVIDER_FAILED", 400)


@pytest.mark.parametrize("record", [InProgress(0), NotVisible(), Unreadable("HTTP 502")])
async def test_what_is_not_an_end_is_waited_for(harness: Harness, record: Record) -> None:
    generation = await harness.submitted()
    harness.provider.records[generation.task_id] = record
    for _ in range(4):
        await harness.let_time_pass()
        await harness.poll()
    now = await harness.store.get(generation.id)

    assert now.state is State.RUNNING
    assert len(harness.provider.fetches) == 4


async def test_progress_is_shown_and_not_taken_back_by_reads_that_fail(harness: Harness) -> None:
    generation = await harness.submitted()
    shown = []
    for record in (InProgress(48), Unreadable("HTTP 502"), NotVisible()):
        harness.provider.records[generation.task_id] = record
        await harness.let_time_pass()
        await harness.poll()
        shown.append((await harness.store.get(generation.id)).progress)

    assert shown == [48, 48, 48]


async def test_a_task_that_takes_too_long_is_unknown_and_still_watched(harness: Harness) -> None:
    generation = await harness.submitted()
    harness.provider.records[generation.task_id] = InProgress(99)
    harness.lose_patience()
    await after(generation.submit_ms)
    await harness.let_time_pass()
    await harness.poll()
    unknown = await harness.store.get(generation.id)
    harness.provider.records[generation.task_id] = Completed((FIRST,))
    await harness.let_time_pass()
    await harness.poll()
    await harness.let_time_pass()
    await harness.copy()
    done = await harness.store.get(generation.id)

    assert unknown.state is State.UNKNOWN
    assert unknown.failure
    assert unknown.failure.reason == "TIMED_OUT"
    assert (done.state, done.failure) == (State.SUCCEEDED, None)
    assert done.complete_ms


async def test_how_long_a_task_may_take_is_its_models_patience(harness: Harness) -> None:
    harness.models = {**MODELS, "slow": replace(MODELS[DRAFT.model], id="slow")}
    overdue, other = [await harness.order(draft=replace(DRAFT, model=model)) for model in (DRAFT.model, "slow")]
    await harness.submit()
    harness.lose_patience(DRAFT.model)
    await after((await harness.store.get(other.id)).submit_ms)
    await harness.let_time_pass()
    await harness.poll()

    states = [(await harness.store.get(order.id)).state for order in (overdue, other)]
    assert states == [State.UNKNOWN, State.RUNNING]


async def test_a_task_of_a_model_that_left_the_catalogue_may_take_as_long_as_any(harness: Harness) -> None:
    generation = await harness.submitted()
    del (models := dict(harness.models))[generation.draft.model]
    harness.models = models
    await after(generation.submit_ms)
    await harness.let_time_pass()
    await harness.poll()
    waiting = (await harness.store.get(generation.id)).state
    harness.lose_patience()
    await harness.let_time_pass()
    await harness.poll()

    assert waiting is State.RUNNING
    assert (await harness.store.get(generation.id)).state is State.UNKNOWN


async def test_a_task_is_read_with_a_key_of_the_account_that_ordered_it(harness: Harness) -> None:
    for _ in range(6):
        await harness.order()
    await harness.submit()
    for number in range(1, 7):
        harness.provider.records[f"task{number}"] = Completed((FIRST,))
    await harness.poll()

    assert len({submit.account for submit in harness.provider.submits}) == 2
    assert {event.generation.state for event in await harness.store.events(0, 100)} >= {State.STORING}
    assert sum(event.generation.state is State.STORING for event in await harness.store.events(0, 100)) == 6
