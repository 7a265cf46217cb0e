"""A picture is shown as ours once it is stored; copying is tried until it works, or the picture is provably gone."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from services.chassis.database import db_now
from services.generation.answers import Broken, Copy, Drawing, Drawn, Gone, Invisible, Later, Record, Unreadable
from services.generation.model import Generation, State
from services.generation.plan import Plan
from services.generation.stores.tables import generation as generation_table
from services.generation.stores.tables import output as output_table
from tests.generation.town import DRAFT, Town
from tests.generation.waiting import after, reached

FIRST, SECOND = "https://temporary.example/a.png", "https://temporary.example/b.png"


async def running(town: Town) -> Generation:
    created = await town.order()
    await town.submit()
    return await town.store.get(created.id)


async def drawn(town: Town, *uris: str) -> Generation:
    """A generation whose pictures wait to be copied."""
    generation = await running(town)
    town.provider.records[generation.task_id] = Drawn(uris or (FIRST,))
    await town.poll()
    return await town.store.get(generation.id)


async def tried(town: Town, generation: Generation) -> Generation:
    """After one more try to copy."""
    await town.let_time_pass()
    await town.keep()
    return await town.store.get(generation.id)


async def test_a_drawn_picture_is_stored_and_then_shown(town: Town) -> None:
    generation = await drawn(town)
    done = await tried(town, generation)

    (output,) = done.outputs
    assert generation.state is State.STORING
    assert (done.state, done.progress, done.failure) == (State.SUCCEEDED, 100, None)
    assert (output.source_uri, output.key) == (FIRST, f"generated/{generation.id}/0.png")
    assert (output.content_type, output.size) == ("image/png", 7)


async def test_the_whole_way_without_any_callback(town: Town) -> None:
    town.provider.records["task1"] = Drawn((FIRST, SECOND))
    async with town.running():
        created = await town.generations.create(DRAFT, "")
        done = await reached(town.store, created.id, State.SUCCEEDED)

    assert [output.key for output in done.outputs] == [f"generated/{created.id}/{index}.png" for index in (0, 1)]


async def test_a_copy_that_fails_and_then_works_succeeds_once(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.extend([Later("storage is away"), Later("storage is away")])
    states = [(await tried(town, generation)).state for _ in range(4)]
    events = [event.generation.state for event in await town.store.events(0, 100)]

    assert states == [State.STORING, State.STORING, State.SUCCEEDED, State.SUCCEEDED]
    assert events.count(State.SUCCEEDED) == 1
    assert len(town.archive.asked) == 3


async def test_a_failing_copy_is_told_only_after_some_patience(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.extend([Later("storage is away")] * 2)
    early = await tried(town, generation)
    impatient = replace(town, plan=replace(town.plan, copy_patience=0.0))
    await after(early.store_ms)
    late = await tried(impatient, generation)
    done = await tried(town, generation)

    assert [output.outputs[0].error for output in (early, late, done)] == ["", "storage is away", ""]


async def test_a_gone_picture_is_asked_for_by_a_fresh_link(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.append(Gone("404"))
    town.provider.links[FIRST] = "https://fresh.example/a.png"
    done = await tried(town, generation)

    assert done.state is State.SUCCEEDED
    assert town.archive.asked == [(generation.id, 0, ""), (generation.id, 0, "https://fresh.example/a.png")]


async def test_a_picture_that_is_gone_for_good_is_lost_and_says_so(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.extend([Gone("404")] * 4)
    town.provider.links[FIRST] = "https://fresh.example/a.png"
    early = await tried(town, generation)
    lost = await tried(town, generation)

    assert early.state is State.STORING
    assert lost.state is State.RESULT_LOST
    assert lost.failure
    assert lost.failure.reason == "RESULT_LOST"
    assert lost.outputs[0].lost


def days(town: Town) -> Town:
    """With the plan that operators get."""
    return replace(town, plan=replace(town.plan, lost_after=Plan().lost_after))


async def backdated(town: Town, **columns: int) -> None:
    """As if the pictures had waited since so many milliseconds before."""
    async with town.database.write() as connection:
        for table, name in ((generation_table, "store_ms"), (output_table, "gone_ms")):
            if name in columns:
                await connection.execute(update(table).values({name: db_now() - columns[name]}))


async def test_an_edge_that_refuses_for_hours_costs_no_picture(town: Town) -> None:
    """HTTP 403 for more than five minutes: the picture is there again afterwards."""
    town = days(town)
    generation = await drawn(town)
    town.archive.answers.extend([Gone("403")] * 2)
    await tried(town, generation)
    await backdated(town, store_ms=86_400_000, gone_ms=86_400_000)
    waiting = await tried(town, generation)
    done = await tried(town, generation)

    assert waiting.state is State.STORING
    assert waiting.outputs[0].error == "no record"
    assert done.state is State.SUCCEEDED


async def test_a_picture_counts_as_gone_only_since_it_was_first_looked_for(town: Town) -> None:
    """Storage was away for days: the first refusal afterwards proves no more than any other first one."""
    town = days(town)
    generation = await drawn(town)
    await backdated(town, store_ms=10 * 86_400_000)
    town.archive.answers.append(Gone("403"))

    assert (await tried(town, generation)).state is State.STORING


async def test_days_of_being_gone_are_a_loss(town: Town) -> None:
    town = days(town)
    generation = await drawn(town)
    town.archive.answers.extend([Gone("404")] * 2)
    await tried(town, generation)
    await backdated(town, gone_ms=4 * 86_400_000)

    assert (await tried(town, generation)).state is State.RESULT_LOST


async def test_the_record_is_read_again_before_a_picture_counts_as_gone(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.append(Gone("404"))
    town.provider.records[generation.task_id] = Drawn((SECOND,))
    done = await tried(town, generation)

    assert done.state is State.SUCCEEDED
    assert town.archive.asked[-1] == (generation.id, 0, SECOND)


async def test_a_record_that_cannot_be_read_is_no_loss(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.extend([Gone("404")] * 3)
    town.provider.records[generation.task_id] = Unreadable("HTTP 502")
    states = [(await tried(town, generation)).state for _ in range(3)]

    assert states == [State.STORING] * 3


async def test_a_clock_that_was_set_wrong_loses_nothing(town: Town) -> None:
    """Ages are differences of the database's times, whatever this process believes."""
    generation = await drawn(town)
    (held,) = await town.store.claim([State.STORING], 1, 60)

    assert held.id == generation.id
    assert 0 <= held.since(held.store_ms) < 60
    assert held.now_ms >= held.update_ms


async def test_a_link_that_comes_later_is_not_a_loss(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.append(Gone("404"))
    town.provider.links[FIRST] = Later("HTTP 502")
    waiting = await tried(town, generation)
    done = await tried(town, generation)

    assert waiting.state is State.STORING
    assert done.state is State.SUCCEEDED


async def test_a_copy_that_never_works_is_lost_when_the_provider_keeps_the_picture_no_longer(town: Town) -> None:
    generation = await drawn(town)
    town.archive.answers.extend([Later("storage is away")] * 2)
    waiting = await tried(town, generation)
    await after(waiting.store_ms)
    lost = await tried(replace(town, plan=replace(town.plan, reconcile=0.0)), generation)

    assert waiting.state is State.STORING
    assert (lost.state, lost.outputs[0].error) == (State.RESULT_LOST, "storage is away")


async def test_pictures_that_are_stored_are_not_copied_again(town: Town) -> None:
    generation = await drawn(town, FIRST, SECOND)
    town.archive.answers.extend([Copy("generated/x/0.png", "image/png", 1), Later("away")])
    half = await tried(town, generation)
    done = await tried(town, generation)

    assert [bool(output.key) for output in half.outputs] == [True, False]
    assert half.state is State.STORING
    assert [index for _, index, _ in town.archive.asked] == [0, 1, 1]
    assert done.state is State.SUCCEEDED


async def test_one_lost_picture_of_two_leaves_a_success(town: Town) -> None:
    generation = await drawn(town, FIRST, SECOND)
    town.archive.answers.append(Gone("404"))
    await tried(town, generation)
    town.archive.answers.append(Gone("404"))
    done = await tried(town, generation)

    assert done.state is State.SUCCEEDED
    assert [output.lost for output in done.outputs] == [True, False]


async def test_a_task_that_failed_upstream_has_failed(town: Town) -> None:
    generation = await running(town)
    town.provider.records[generation.task_id] = Broken(400, "The prompt was flagged.")
    await town.poll()
    ended = await town.store.get(generation.id)

    assert ended.state is State.FAILED
    assert ended.failure
    assert (ended.failure.reason, ended.failure.provider_code) == ("PROVIDER_FAILED", 400)


@pytest.mark.parametrize("record", [Drawing(0), Invisible(), Unreadable("HTTP 502")])
async def test_what_is_not_an_end_is_waited_for(town: Town, record: Record) -> None:
    generation = await running(town)
    town.provider.records[generation.task_id] = record
    for _ in range(4):
        await town.let_time_pass()
        await town.poll()
    now = await town.store.get(generation.id)

    assert now.state is State.RUNNING
    assert len(town.provider.fetches) == 4


async def test_progress_is_shown_and_not_taken_back_by_a_bad_day(town: Town) -> None:
    generation = await running(town)
    shown = []
    for record in (Drawing(48), Unreadable("HTTP 502"), Invisible()):
        town.provider.records[generation.task_id] = record
        await town.let_time_pass()
        await town.poll()
        shown.append((await town.store.get(generation.id)).progress)

    assert shown == [48, 48, 48]


async def test_a_task_that_takes_too_long_is_unknown_and_still_watched(town: Town) -> None:
    generation = await running(town)
    town.provider.records[generation.task_id] = Drawing(99)
    town.plan = replace(town.plan, timeout=0.0)
    await after(generation.submit_ms)
    await town.let_time_pass()
    await town.poll()
    unknown = await town.store.get(generation.id)
    town.provider.records[generation.task_id] = Drawn((FIRST,))
    await town.let_time_pass()
    await town.poll()
    done = await tried(town, generation)

    assert unknown.state is State.UNKNOWN
    assert unknown.failure
    assert unknown.failure.reason == "TIMED_OUT"
    assert (done.state, done.failure) == (State.SUCCEEDED, None)
    assert done.complete_ms


async def test_a_task_is_read_with_a_key_of_the_account_that_ordered_it(town: Town) -> None:
    for _ in range(6):
        await town.order()
    await town.submit()
    for number in range(1, 7):
        town.provider.records[f"task{number}"] = Drawn((FIRST,))
    await town.poll()

    assert len({submit.account for submit in town.provider.submits}) == 2
    assert {event.generation.state for event in await town.store.events(0, 100)} >= {State.STORING}
    assert sum(event.generation.state is State.STORING for event in await town.store.events(0, 100)) == 6
