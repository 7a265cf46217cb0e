"""A result that nobody waits for any more is kept all the same: it was made and paid for.

See docs/durable-core.md#late-results.
"""

from collections import deque
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from services.chassis.errors import FailedPrecondition
from services.generation.answers import Accepted, Ambiguous, Broken, Drawing, Drawn, Later, Refused
from services.generation.core.history import History
from services.generation.core.latecomers import extras_of
from services.generation.model import Draft, Generation, Output, State
from services.generation.stores.tables import attempt, inbox
from tests.generation.town import Connected, Submit, Town, answering
from tests.generation.waiting import eventually, reached

FIRST, SECOND, THIRD = (f"https://temporary.example/{number}.png" for number in (1, 2, 3))


async def verdicts(town: Town) -> dict[str, str]:
    """What was made of each task that the inbox names."""
    async with town.database.read() as connection:
        rows = await connection.execute(select(inbox.c.task_id, inbox.c.verdict).order_by(inbox.c.create_ms))
        return {row.task_id: row.verdict for row in rows}


async def delivered(town: Town) -> dict[str, str]:
    """The verdicts once the inbox is empty, however long that takes."""

    async def done() -> bool:
        await town.let_time_pass()
        return all((await verdicts(town)).values())

    async with town.delivering():
        await eventually(done)
    return await verdicts(town)


async def submitted(town: Town, *outcomes: Accepted | Ambiguous | Refused) -> tuple[Generation, str]:
    """An order and the token of its last attempt, after the provider has answered so."""
    town.provider.scripts.extend(map(answering, outcomes))
    created = await town.order()
    for _ in outcomes:
        await town.let_time_pass()
        await town.submit()
    return await town.store.get(created.id), town.provider.submits[-1].token


async def finished(town: Town, generation: Generation) -> Generation:
    """The generation with its pictures kept."""
    await town.let_time_pass()
    await town.poll()
    await town.keep()
    return await town.store.get(generation.id)


def pictures(generation: Generation) -> list[tuple[int, str, str]]:
    return [(output.index, output.source_uri, output.key) for output in generation.outputs]


def copy_of(generation: Generation, index: int) -> str:
    return f"generated/{generation.id}/{index}.png"


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def explained(town: Town, generation: Generation) -> str:
    story = await History(town.store, town.crew.poller, town.keys, town.parking).explain(generation.id)
    return "\n".join(f"{entry.kind}: {entry.text}" for entry in story)


async def test_a_webhook_for_a_task_with_another_prompt_is_quarantined(town: Town) -> None:
    """Whoever has the token could name any task of the account; its record tells which order it was."""
    generation, token = await submitted(town, Ambiguous("ReadTimeout"))
    town.provider.records["task9"] = Drawn((FIRST,))
    town.provider.prompts["task9"] = "a dog"
    await town.callback("task9", token)

    assert await delivered(town) == {"task9": "quarantined"}
    now = await town.store.get(generation.id)
    assert (now.state, now.task_id, now.outputs) == (State.AMBIGUOUS, "", ())
    assert "task9, code 200: quarantined" in await explained(town, generation)


async def test_a_webhook_for_a_task_with_the_same_prompt_is_adopted(town: Town) -> None:
    generation, token = await submitted(town, Ambiguous("ReadTimeout"))
    town.provider.records["task9"] = Drawn((FIRST,))
    town.provider.prompts["task9"] = generation.draft.prompt
    await town.callback("task9", token)

    assert await delivered(town) == {"task9": "done"}
    assert pictures(await finished(town, generation)) == [(0, FIRST, copy_of(generation, 0))]


async def test_an_operator_cannot_adopt_a_task_with_another_prompt(town: Town) -> None:
    generation, _ = await submitted(town, Ambiguous("ReadTimeout"))
    town.provider.records["task9"] = Drawing(10)
    town.provider.prompts["task9"] = "a dog"

    with pytest.raises(FailedPrecondition) as refused:
        await History(town.store, town.crew.poller, town.keys, town.parking).adopt(generation.attempt_id, "task9")

    assert refused.value.reason == "PROMPT_MISMATCH"
    assert "a dog" not in refused.value.message
    assert (await town.store.get(generation.id)).state is State.AMBIGUOUS


async def test_a_second_task_of_one_attempt_is_kept_as_an_extra_picture(town: Town) -> None:
    doubles = counted("kawaii_double_bills_observed_total")
    late = counted("kawaii_late_results_total", done="extra")
    generation, token = await submitted(town, Accepted("task1"))
    town.provider.records.update(task1=Drawn((FIRST,)), task2=Drawn((SECOND, THIRD)))
    await finished(town, generation)
    await town.callback("task2", token)

    assert await delivered(town) == {"task2": "extra"}
    now = await town.store.get(generation.id)
    assert (now.state, now.task_id) == (State.SUCCEEDED, "task1")
    assert pictures(now) == [
        (0, FIRST, copy_of(now, 0)),
        (1, SECOND, copy_of(now, 1)),
        (2, THIRD, copy_of(now, 2)),
    ]
    assert counted("kawaii_double_bills_observed_total") == doubles + 1
    assert counted("kawaii_late_results_total", done="extra") == late + 1


async def test_the_first_success_is_delivered_whichever_task_it_is_of(town: Town) -> None:
    generation, token = await submitted(town, Accepted("task1"))
    town.provider.records.update(task1=Drawing(10), task2=Drawn((SECOND,)))
    await town.callback("task2", token)
    async with town.running():
        await reached(town.store, generation.id, State.SUCCEEDED)
        town.provider.records["task1"] = Drawn((FIRST,))
        await eventually_two(town, generation)

    now = await town.store.get(generation.id)
    assert pictures(now) == [(0, SECOND, copy_of(now, 0)), (1, FIRST, copy_of(now, 1))]
    assert await verdicts(town) == {"task1": "extra", "task2": "delivered"}


async def eventually_two(town: Town, generation: Generation) -> None:
    async def there() -> bool:
        await town.let_time_pass()
        return len((await town.store.get(generation.id)).outputs) == 2

    await eventually(there)


async def test_a_reply_that_names_another_task_than_its_webhook_loses_neither(town: Town) -> None:
    """The webhook overtakes the reply, and the two do not agree."""
    town.provider.records.update(task1=Drawn((FIRST,)), task2=Drawn((SECOND,)))

    async def overtaken(submit: Submit, connected: Connected) -> Accepted:
        await connected()
        await town.callback("task2", submit.token)
        await delivered(town)
        return Accepted("task1")

    town.provider.scripts.append(overtaken)
    generation = await town.order()
    await town.submit()
    now = await finished(town, generation)
    told = await delivered(town)

    assert (now.state, now.task_id) == (State.SUCCEEDED, "task2")
    assert told == {"task2": "done", "task1": "extra"}
    assert [uri for _, uri, _ in pictures(await town.store.get(generation.id))] == [SECOND, FIRST]


@pytest.mark.parametrize("answer", [Ambiguous("ReadTimeout"), Refused(429, "slow down")])
async def test_a_late_result_of_an_earlier_attempt_is_delivered_when_there_is_no_other(
    town: Town, answer: Ambiguous | Refused
) -> None:
    generation, token = await submitted(town, answer)
    generation = await retried(town, generation)
    town.provider.records.update(task1=Drawn((FIRST,)), task2=Broken(501, "It failed."))
    await town.callback("task1", token)
    assert (await delivered(town))["task1"] == "delivered"

    now = await finished(town, generation)
    assert (now.state, now.task_id, now.failure) == (State.SUCCEEDED, "task1", None)
    assert pictures(now) == [(0, FIRST, copy_of(now, 0))]
    assert "task1, code 200: delivered" in await explained(town, now)


async def retried(town: Town, generation: Generation) -> Generation:
    """A new attempt of the order, whose task has failed."""
    if generation.state is State.AMBIGUOUS:
        await town.let_time_pass()
        await town.tidy()
        await town.store.restart(await town.store.get(generation.id))
    await town.let_time_pass()
    town.provider.scripts.append(answering(Accepted("task2")))
    town.provider.records["task2"] = Broken(501, "It failed.")
    await town.submit()
    await town.poll()
    failed = await town.store.get(generation.id)
    assert failed.state is State.FAILED
    return failed


async def test_a_late_result_that_comes_before_the_new_order_is_sent_saves_it(town: Town) -> None:
    generation, token = await submitted(town, Ambiguous("ReadTimeout"))
    await town.let_time_pass()
    await town.tidy()
    await town.store.restart(await town.store.get(generation.id))
    town.provider.records["task1"] = Drawn((FIRST,))
    await town.callback("task1", token)
    await delivered(town)
    await town.submit()

    assert len(town.provider.submits) == 1
    assert (await finished(town, generation)).state is State.SUCCEEDED


async def test_a_late_result_beside_the_new_one_is_an_extra_picture(town: Town) -> None:
    generation, token = await submitted(town, Ambiguous("ReadTimeout"))
    await town.let_time_pass()
    await town.tidy()
    await town.store.restart(await town.store.get(generation.id))
    town.provider.scripts.append(answering(Accepted("task2")))
    await town.submit()
    town.provider.records.update(task1=Drawn((FIRST,)), task2=Drawn((SECOND,)))
    await finished(town, generation)
    await town.callback("task1", token)
    await delivered(town)

    now = await town.store.get(generation.id)
    assert [uri for _, uri, _ in pictures(now)] == [SECOND, FIRST]
    async with town.database.read() as connection:
        assert set(await connection.scalars(select(attempt.c.task_id))) == {"task1", "task2"}


async def test_a_task_that_is_still_drawn_when_its_order_is_retried_is_not_forgotten(town: Town) -> None:
    """No webhook comes for it any more, so we remind ourselves."""
    generation, _ = await submitted(town, Accepted("task1"))
    (claimed,) = await town.store.claim([State.RUNNING], 10, 60)
    overdue = await town.store.move(claimed, State.UNKNOWN)
    await town.store.restart(overdue)
    town.provider.records["task1"] = Drawn((FIRST,))

    assert await delivered(town) == {"task1": "delivered"}
    assert (await finished(town, generation)).state is State.SUCCEEDED
    assert "reminder: of task1, which is not awaited: delivered" in await explained(town, generation)


async def test_an_adopted_task_of_an_earlier_attempt_is_brought_home(town: Town) -> None:
    generation, _ = await submitted(town, Ambiguous("ReadTimeout"))
    earlier = generation.attempt_id
    await retried(town, generation)
    town.provider.records["lost"] = Drawn((FIRST,))
    await History(town.store, town.crew.poller, town.keys, town.parking).adopt(earlier, "lost")

    assert (await delivered(town))["lost"] == "delivered"
    assert pictures(await finished(town, generation)) == [(0, FIRST, copy_of(generation, 0))]


async def test_an_extra_picture_that_cannot_be_copied_yet_is_tried_again(town: Town) -> None:
    generation, token = await submitted(town, Accepted("task1"))
    town.provider.records.update(task1=Drawn((FIRST,)), task2=Drawn((SECOND,)))
    await finished(town, generation)
    town.archive.answers = deque([Later("storage is away")])
    await town.callback("task2", token)

    assert await delivered(town) == {"task2": "extra"}
    now = await town.store.get(generation.id)
    assert pictures(now)[1:] == [(1, SECOND, copy_of(now, 1))]


async def test_two_latecomers_at_once_do_not_take_one_place(town: Town) -> None:
    generation, token = await submitted(town, Accepted("task1"))
    town.provider.records.update(task1=Drawn((FIRST,)), task2=Drawn((SECOND,)), task3=Drawn((THIRD,)))
    await finished(town, generation)
    for task in ("task2", "task3"):
        await town.callback(task, token)
    await delivered(town)

    now = await town.store.get(generation.id)
    assert [index for index, _, _ in pictures(now)] == [0, 1, 2]
    assert {uri for _, uri, _ in pictures(now)} == {FIRST, SECOND, THIRD}
    assert len({(generation_id, index) for generation_id, index, _ in town.archive.asked}) == 3


async def test_a_second_webhook_for_what_was_kept_changes_nothing(town: Town) -> None:
    generation, token = await submitted(town, Accepted("task1"))
    town.provider.records.update(task1=Drawn((FIRST,)), task2=Drawn((SECOND,)))
    await finished(town, generation)
    for code in (200, 501, 400):
        await town.callback("task2", token, code)
        await delivered(town)

    assert len((await town.store.get(generation.id)).outputs) == 2


async def test_a_late_result_of_a_canceled_order_is_noted_and_not_copied(town: Town) -> None:
    generation, token = await submitted(town, Accepted("task1"))
    await town.store.cancel(await town.store.get(generation.id))
    town.provider.records["task2"] = Drawn((SECOND,))
    await town.callback("task2", token)

    assert await delivered(town) == {"task2": "recorded"}
    now = await town.store.get(generation.id)
    assert (now.state, pictures(now)) == (State.CANCELED, [(0, SECOND, "")])
    assert town.archive.asked == []


async def test_a_picture_beside_others_has_the_same_file_name_at_each_try_and_no_other() -> None:
    """It is copied before it has a row: a repeated copy must find the first one."""
    shown = Generation("gen_1", Draft("m", "p"), "kie", State.SUCCEEDED, outputs=(Output(0, "https://a.example/0"),))
    named = replace(shown, outputs=(replace(shown.outputs[0], file_stem="ab" * 16),))
    record = Drawn(("https://a.example/1", "https://a.example/2"))

    first, again = ([each.file_stem for each in extras_of(named, record)] for _ in range(2))

    assert first == again
    assert len({*first, "ab" * 16}) == 3
    assert [each.file_stem for each in extras_of(shown, record)] == ["", ""]  # made by an older version: its keys stay
