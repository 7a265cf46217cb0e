"""A result that nobody waits for any more is kept all the same: it was made and paid for.

See docs/durable-core.md#late-results.
"""

from collections import deque
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from services.chassis.errors import FailedPrecondition, NotFound, Unavailable
from services.generation.callbacks.late_results import extras_of
from services.generation.core.timeline import Timeline
from services.generation.model import Draft, Generation, Output, State
from services.generation.outcomes import (
    Accepted,
    Ambiguous,
    Completed,
    InProgress,
    Later,
    Refused,
    TaskFailed,
    Unreadable,
)
from services.generation.stores.tables import attempt, inbox
from tests.generation.harness import Connected, Harness, Submit, answering
from tests.generation.waiting import reached
from tests.support.polling import eventually
from tests.support.sql import fetch_all, fetch_values

FIRST, SECOND, THIRD = (f"https://temporary.example/{number}.png" for number in (1, 2, 3))


async def verdicts(harness: Harness) -> dict[str, str]:
    """What was made of each task that the inbox names."""
    rows = await fetch_all(harness.database, select(inbox.c.task_id, inbox.c.verdict).order_by(inbox.c.create_ms))
    return {row.task_id: row.verdict for row in rows}


async def delivered(harness: Harness) -> dict[str, str]:
    """The verdicts once the inbox is empty, however long that takes."""

    async def done() -> bool:
        await harness.let_time_pass()
        return all((await verdicts(harness)).values())

    async with harness.delivering():
        await eventually(done)
    return await verdicts(harness)


async def submitted(harness: Harness, *outcomes: Accepted | Ambiguous | Refused) -> tuple[Generation, str]:
    """An order and the token of its last attempt, after the provider has answered so."""
    harness.provider.scripts.extend(map(answering, outcomes))
    created = await harness.order()
    for _ in outcomes:
        await harness.let_time_pass()
        await harness.submit()
    return await harness.store.get(created.id), harness.provider.submits[-1].token


async def finished(harness: Harness, generation: Generation) -> Generation:
    """The generation with its pictures kept."""
    await harness.let_time_pass()
    await harness.poll()
    await harness.copy()
    return await harness.store.get(generation.id)


def pictures(generation: Generation) -> list[tuple[int, str, str]]:
    return [(output.index, output.source_uri, output.key) for output in generation.outputs]


def copy_of(generation: Generation, index: int) -> str:
    return f"generated/{generation.id}/{index}.png"


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def explained(harness: Harness, generation: Generation) -> str:
    timeline = await Timeline(
        harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking
    ).explain(generation.id)
    return "\n".join(f"{entry.kind}: {entry.text}" for entry in timeline)


async def test_a_callback_for_a_task_with_another_prompt_is_quarantined(harness: Harness) -> None:
    """Whoever has the token could name any task of the account; its record tells which order it was."""
    generation, token = await submitted(harness, Ambiguous("ReadTimeout"))
    harness.provider.records["task9"] = Completed((FIRST,))
    harness.provider.prompts["task9"] = "a dog"
    await harness.callback("task9", token)

    assert await delivered(harness) == {"task9": "quarantined"}
    now = await harness.store.get(generation.id)
    assert (now.state, now.task_id, now.outputs) == (State.AMBIGUOUS, "", ())
    assert "task9, code 200: quarantined" in await explained(harness, generation)


async def test_a_callback_for_a_task_with_the_same_prompt_is_adopted(harness: Harness) -> None:
    generation, token = await submitted(harness, Ambiguous("ReadTimeout"))
    harness.provider.records["task9"] = Completed((FIRST,))
    harness.provider.prompts["task9"] = generation.draft.prompt
    await harness.callback("task9", token)

    assert await delivered(harness) == {"task9": "done"}
    assert pictures(await finished(harness, generation)) == [(0, FIRST, copy_of(generation, 0))]


async def test_an_operator_cannot_adopt_a_task_with_another_prompt(harness: Harness) -> None:
    generation, _ = await submitted(harness, Ambiguous("ReadTimeout"))
    harness.provider.records["task9"] = InProgress(10)
    harness.provider.prompts["task9"] = "a dog"

    with pytest.raises(FailedPrecondition) as refused:
        await Timeline(
            harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking
        ).adopt(generation.attempt_id, "task9")

    assert refused.value.reason == "PROMPT_MISMATCH"
    assert "a dog" not in refused.value.message
    assert (await harness.store.get(generation.id)).state is State.AMBIGUOUS


async def test_an_attempt_that_does_not_exist_adopts_nothing(harness: Harness) -> None:
    harness.provider.records["task9"] = Completed((FIRST,))

    with pytest.raises(NotFound, match="no attempt"):
        await Timeline(
            harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking
        ).adopt("att_none", "task9")


async def test_an_operator_who_adopts_a_task_while_the_provider_is_away_is_asked_to_try_again(harness: Harness) -> None:
    generation, _ = await submitted(harness, Ambiguous("ReadTimeout"))
    harness.provider.records["task9"] = Unreadable("ConnectError")

    with pytest.raises(Unavailable, match="ConnectError") as refused:
        await Timeline(
            harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking
        ).adopt(generation.attempt_id, "task9")

    assert refused.value.retry_after == 5
    assert (await harness.store.get(generation.id)).task_id == ""


async def test_a_second_task_of_one_attempt_is_kept_as_an_extra_picture(harness: Harness) -> None:
    doubles = counted("kawaii_double_bills_observed_total")
    late = counted("kawaii_late_results_total", done="extra")
    generation, token = await submitted(harness, Accepted("task1"))
    harness.provider.records.update(task1=Completed((FIRST,)), task2=Completed((SECOND, THIRD)))
    await finished(harness, generation)
    await harness.callback("task2", token)

    assert await delivered(harness) == {"task2": "extra"}
    now = await harness.store.get(generation.id)
    assert (now.state, now.task_id) == (State.SUCCEEDED, "task1")
    assert pictures(now) == [
        (0, FIRST, copy_of(now, 0)),
        (1, SECOND, copy_of(now, 1)),
        (2, THIRD, copy_of(now, 2)),
    ]
    assert counted("kawaii_double_bills_observed_total") == doubles + 1
    assert counted("kawaii_late_results_total", done="extra") == late + 1


async def test_the_first_success_is_delivered_whichever_task_it_is_of(harness: Harness) -> None:
    generation, token = await submitted(harness, Accepted("task1"))
    harness.provider.records.update(task1=InProgress(10), task2=Completed((SECOND,)))
    await harness.callback("task2", token)
    async with harness.running():
        await reached(harness.store, generation.id, State.SUCCEEDED)
        harness.provider.records["task1"] = Completed((FIRST,))
        await eventually_two(harness, generation)

    now = await harness.store.get(generation.id)
    assert pictures(now) == [(0, SECOND, copy_of(now, 0)), (1, FIRST, copy_of(now, 1))]
    assert await verdicts(harness) == {"task1": "extra", "task2": "delivered"}


async def eventually_two(harness: Harness, generation: Generation) -> None:
    async def there() -> bool:
        await harness.let_time_pass()
        return len((await harness.store.get(generation.id)).outputs) == 2

    await eventually(there)


async def test_a_reply_that_names_another_task_than_its_callback_loses_neither(harness: Harness) -> None:
    """The callback overtakes the reply, and the two do not agree."""
    harness.provider.records.update(task1=Completed((FIRST,)), task2=Completed((SECOND,)))

    async def overtaken(submit: Submit, connected: Connected) -> Accepted:
        await connected()
        await harness.callback("task2", submit.token)
        await delivered(harness)
        return Accepted("task1")

    harness.provider.scripts.append(overtaken)
    generation = await harness.order()
    await harness.submit()
    now = await finished(harness, generation)
    verdicts = await delivered(harness)

    assert (now.state, now.task_id) == (State.SUCCEEDED, "task2")
    assert verdicts == {"task2": "done", "task1": "extra"}
    assert [uri for _, uri, _ in pictures(await harness.store.get(generation.id))] == [SECOND, FIRST]


@pytest.mark.parametrize("answer", [Ambiguous("ReadTimeout"), Refused(429, "slow down")])
async def test_a_late_result_of_an_earlier_attempt_is_delivered_when_there_is_no_other(
    harness: Harness, answer: Ambiguous | Refused
) -> None:
    generation, token = await submitted(harness, answer)
    generation = await retried(harness, generation)
    harness.provider.records.update(task1=Completed((FIRST,)), task2=TaskFailed(501, "It failed."))
    await harness.callback("task1", token)
    assert (await delivered(harness))["task1"] == "delivered"

    now = await finished(harness, generation)
    assert (now.state, now.task_id, now.failure) == (State.SUCCEEDED, "task1", None)
    assert pictures(now) == [(0, FIRST, copy_of(now, 0))]
    assert "task1, code 200: delivered" in await explained(harness, now)


async def retried(harness: Harness, generation: Generation) -> Generation:
    """A new attempt of the order, whose task has failed."""
    if generation.state is State.AMBIGUOUS:
        await harness.let_time_pass()
        await harness.recover()
        await harness.store.restart(await harness.store.get(generation.id))
    await harness.let_time_pass()
    harness.provider.scripts.append(answering(Accepted("task2")))
    harness.provider.records["task2"] = TaskFailed(501, "It failed.")
    await harness.submit()
    await harness.poll()
    failed = await harness.store.get(generation.id)
    assert failed.state is State.FAILED
    return failed


async def test_a_late_result_that_comes_before_the_new_order_is_sent_saves_it(harness: Harness) -> None:
    generation, token = await submitted(harness, Ambiguous("ReadTimeout"))
    await harness.let_time_pass()
    await harness.recover()
    await harness.store.restart(await harness.store.get(generation.id))
    harness.provider.records["task1"] = Completed((FIRST,))
    await harness.callback("task1", token)
    await delivered(harness)
    await harness.submit()

    assert len(harness.provider.submits) == 1
    assert (await finished(harness, generation)).state is State.SUCCEEDED


async def test_a_late_result_beside_the_new_one_is_an_extra_picture(harness: Harness) -> None:
    generation, token = await submitted(harness, Ambiguous("ReadTimeout"))
    await harness.let_time_pass()
    await harness.recover()
    await harness.store.restart(await harness.store.get(generation.id))
    harness.provider.scripts.append(answering(Accepted("task2")))
    await harness.submit()
    harness.provider.records.update(task1=Completed((FIRST,)), task2=Completed((SECOND,)))
    await finished(harness, generation)
    await harness.callback("task1", token)
    await delivered(harness)

    now = await harness.store.get(generation.id)
    assert [uri for _, uri, _ in pictures(now)] == [SECOND, FIRST]
    assert set(await fetch_values(harness.database, select(attempt.c.task_id))) == {"task1", "task2"}


async def test_a_task_that_is_still_drawn_when_its_order_is_retried_is_not_forgotten(harness: Harness) -> None:
    """No callback comes for it any more, so we remind ourselves."""
    generation, _ = await submitted(harness, Accepted("task1"))
    (claimed,) = await harness.store.claim([State.RUNNING], 10, 60)
    overdue = await harness.store.move(claimed, State.UNKNOWN)
    await harness.store.restart(overdue)
    harness.provider.records["task1"] = Completed((FIRST,))

    assert await delivered(harness) == {"task1": "delivered"}
    assert (await finished(harness, generation)).state is State.SUCCEEDED
    assert "reminder: of task1, which is not awaited: delivered" in await explained(harness, generation)


async def test_the_result_of_an_adopted_task_of_an_earlier_attempt_is_stored(harness: Harness) -> None:
    generation, _ = await submitted(harness, Ambiguous("ReadTimeout"))
    earlier = generation.attempt_id
    await retried(harness, generation)
    harness.provider.records["lost"] = Completed((FIRST,))
    await Timeline(
        harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking
    ).adopt(earlier, "lost")

    assert (await delivered(harness))["lost"] == "delivered"
    assert pictures(await finished(harness, generation)) == [(0, FIRST, copy_of(generation, 0))]


async def test_an_extra_picture_that_cannot_be_copied_yet_is_tried_again(harness: Harness) -> None:
    generation, token = await submitted(harness, Accepted("task1"))
    harness.provider.records.update(task1=Completed((FIRST,)), task2=Completed((SECOND,)))
    await finished(harness, generation)
    harness.storage.answers = deque([Later("storage is away")])
    await harness.callback("task2", token)

    assert await delivered(harness) == {"task2": "extra"}
    now = await harness.store.get(generation.id)
    assert pictures(now)[1:] == [(1, SECOND, copy_of(now, 1))]


async def test_two_late_results_at_once_do_not_take_one_index(harness: Harness) -> None:
    generation, token = await submitted(harness, Accepted("task1"))
    harness.provider.records.update(task1=Completed((FIRST,)), task2=Completed((SECOND,)), task3=Completed((THIRD,)))
    await finished(harness, generation)
    for task in ("task2", "task3"):
        await harness.callback(task, token)
    await delivered(harness)

    now = await harness.store.get(generation.id)
    assert [index for index, _, _ in pictures(now)] == [0, 1, 2]
    assert {uri for _, uri, _ in pictures(now)} == {FIRST, SECOND, THIRD}
    assert len({(generation_id, index) for generation_id, index, _ in harness.storage.asked}) == 3


async def test_a_second_callback_for_what_was_kept_changes_nothing(harness: Harness) -> None:
    generation, token = await submitted(harness, Accepted("task1"))
    harness.provider.records.update(task1=Completed((FIRST,)), task2=Completed((SECOND,)))
    await finished(harness, generation)
    for code in (200, 501, 400):
        await harness.callback("task2", token, code)
        await delivered(harness)

    assert len((await harness.store.get(generation.id)).outputs) == 2


async def test_a_late_result_of_a_canceled_order_is_noted_and_not_copied(harness: Harness) -> None:
    generation, token = await submitted(harness, Accepted("task1"))
    await harness.store.cancel(await harness.store.get(generation.id))
    harness.provider.records["task2"] = Completed((SECOND,))
    await harness.callback("task2", token)

    assert await delivered(harness) == {"task2": "recorded"}
    now = await harness.store.get(generation.id)
    assert (now.state, pictures(now)) == (State.CANCELED, [(0, SECOND, "")])
    assert harness.storage.asked == []


async def test_a_picture_beside_others_has_the_same_file_name_at_each_try_and_no_other() -> None:
    """It is copied before it has a row: a repeated copy must find the first one."""
    shown = Generation("gen_1", Draft("m", "p"), "kie", State.SUCCEEDED, outputs=(Output(0, "https://a.example/0"),))
    named = replace(shown, outputs=(replace(shown.outputs[0], file_stem="ab" * 16),))
    record = Completed(("https://a.example/1", "https://a.example/2"))

    first, again = ([each.file_stem for each in extras_of(named, record)] for _ in range(2))

    assert first == again
    assert len({*first, "ab" * 16}) == 3
    assert [each.file_stem for each in extras_of(shown, record)] == ["", ""]  # made by an older version: its keys stay
