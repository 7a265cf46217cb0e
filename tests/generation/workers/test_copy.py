"""A picture is shown as ours once it is stored; copying is tried until it works, or the picture is provably gone."""

from dataclasses import replace

from sqlalchemy import update

from services.chassis.database import db_now
from services.generation.model import Generation, State
from services.generation.outcomes import (
    Completed,
    Copy,
    Gone,
    Later,
    Unreadable,
)
from services.generation.stores.tables import generation as generation_table
from services.generation.stores.tables import output as output_table
from services.generation.timing import Timing
from tests.generation.harness import DRAFT, Harness
from tests.generation.waiting import after, reached
from tests.support.sql import execute

FIRST, SECOND = "https://temporary.example/a.png", "https://temporary.example/b.png"


async def drawn(harness: Harness, *uris: str) -> Generation:
    """A generation whose pictures wait to be copied."""
    generation = await harness.submitted()
    harness.provider.records[generation.task_id] = Completed(uris or (FIRST,))
    await harness.poll()
    return await harness.store.get(generation.id)


async def tried(harness: Harness, generation: Generation) -> Generation:
    """After one more try to copy."""
    await harness.let_time_pass()
    await harness.copy()
    return await harness.store.get(generation.id)


async def test_a_drawn_picture_is_stored_and_then_shown(harness: Harness) -> None:
    generation = await drawn(harness)
    done = await tried(harness, generation)

    (output,) = done.outputs
    assert generation.state is State.STORING
    assert (done.state, done.progress, done.failure) == (State.SUCCEEDED, 100, None)
    assert (output.source_uri, output.key) == (FIRST, f"generated/{generation.id}/0.png")
    assert (output.content_type, output.size) == ("image/png", 7)


async def test_the_whole_way_without_any_callback(harness: Harness) -> None:
    harness.provider.records["task1"] = Completed((FIRST, SECOND))
    async with harness.running():
        created = (await harness.generations.create(DRAFT, "")).generation
        done = await reached(harness.store, created.id, State.SUCCEEDED)

    assert [output.key for output in done.outputs] == [f"generated/{created.id}/{index}.png" for index in (0, 1)]


async def test_a_copy_that_fails_and_then_works_succeeds_once(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.extend([Later("storage is away"), Later("storage is away")])
    states = [(await tried(harness, generation)).state for _ in range(4)]
    events = [event.generation.state for event in await harness.store.events(0, 100)]

    assert states == [State.STORING, State.STORING, State.SUCCEEDED, State.SUCCEEDED]
    assert events.count(State.SUCCEEDED) == 1
    assert len(harness.storage.asked) == 3


async def test_a_failing_copy_is_told_only_after_some_patience(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.extend([Later("storage is away")] * 2)
    early = await tried(harness, generation)
    impatient = replace(harness, timing=replace(harness.timing, copy_patience=0.0))
    await after(early.store_ms)
    late = await tried(impatient, generation)
    done = await tried(harness, generation)

    assert [output.outputs[0].error for output in (early, late, done)] == ["", "storage is away", ""]


async def test_a_gone_picture_is_asked_for_by_a_fresh_link(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.append(Gone("404"))
    harness.provider.links[FIRST] = "https://fresh.example/a.png"
    done = await tried(harness, generation)

    assert done.state is State.SUCCEEDED
    assert harness.storage.asked == [(generation.id, 0, ""), (generation.id, 0, "https://fresh.example/a.png")]


async def test_a_picture_that_is_gone_for_good_is_lost_and_says_so(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.extend([Gone("404")] * 4)
    harness.provider.links[FIRST] = "https://fresh.example/a.png"
    early = await tried(harness, generation)
    lost = await tried(harness, generation)

    assert early.state is State.STORING
    assert lost.state is State.RESULT_LOST
    assert lost.failure
    assert lost.failure.reason == "RESULT_LOST"
    assert lost.outputs[0].lost


def days(harness: Harness) -> Harness:
    """With the default retention."""
    return replace(harness, timing=replace(harness.timing, lost_after=Timing().lost_after))


async def backdated(harness: Harness, **columns: int) -> None:
    """As if the pictures had waited since so many milliseconds before."""
    for table, name in ((generation_table, "store_ms"), (output_table, "gone_ms")):
        if name in columns:
            await execute(harness.database, update(table).values({name: db_now() - columns[name]}))


async def test_an_edge_that_refuses_for_hours_costs_no_picture(harness: Harness) -> None:
    """HTTP 403 for more than five minutes: the picture is there again afterwards."""
    harness = days(harness)
    generation = await drawn(harness)
    harness.storage.answers.extend([Gone("403")] * 2)
    await tried(harness, generation)
    await backdated(harness, store_ms=86_400_000, gone_ms=86_400_000)
    waiting = await tried(harness, generation)
    done = await tried(harness, generation)

    assert waiting.state is State.STORING
    assert waiting.outputs[0].error == "no record"
    assert done.state is State.SUCCEEDED


async def test_a_picture_counts_as_gone_only_since_it_was_first_looked_for(harness: Harness) -> None:
    """Storage was away for days: the first refusal afterwards proves no more than any other first one."""
    harness = days(harness)
    generation = await drawn(harness)
    await backdated(harness, store_ms=10 * 86_400_000)
    harness.storage.answers.append(Gone("403"))

    assert (await tried(harness, generation)).state is State.STORING


async def test_days_of_being_gone_are_a_loss(harness: Harness) -> None:
    harness = days(harness)
    generation = await drawn(harness)
    harness.storage.answers.extend([Gone("404")] * 2)
    await tried(harness, generation)
    await backdated(harness, gone_ms=4 * 86_400_000)

    assert (await tried(harness, generation)).state is State.RESULT_LOST


async def test_the_record_is_read_again_before_a_picture_counts_as_gone(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.append(Gone("404"))
    harness.provider.records[generation.task_id] = Completed((SECOND,))
    done = await tried(harness, generation)

    assert done.state is State.SUCCEEDED
    assert harness.storage.asked[-1] == (generation.id, 0, SECOND)


async def test_a_record_that_cannot_be_read_is_no_loss(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.extend([Gone("404")] * 3)
    harness.provider.records[generation.task_id] = Unreadable("HTTP 502")
    states = [(await tried(harness, generation)).state for _ in range(3)]

    assert states == [State.STORING] * 3


async def test_a_clock_that_was_set_wrong_loses_nothing(harness: Harness) -> None:
    """Ages are differences of the database's times, whatever this process believes."""
    generation = await drawn(harness)
    (held,) = await harness.store.claim([State.STORING], 1, 60)

    assert held.id == generation.id
    assert 0 <= held.since(held.store_ms) < 60
    assert held.now_ms >= held.update_ms


async def test_a_link_that_comes_later_is_not_a_loss(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.append(Gone("404"))
    harness.provider.links[FIRST] = Later("HTTP 502")
    waiting = await tried(harness, generation)
    done = await tried(harness, generation)

    assert waiting.state is State.STORING
    assert done.state is State.SUCCEEDED


async def test_a_copy_that_never_works_is_lost_when_the_provider_keeps_the_picture_no_longer(harness: Harness) -> None:
    generation = await drawn(harness)
    harness.storage.answers.extend([Later("storage is away")] * 2)
    waiting = await tried(harness, generation)
    await after(waiting.store_ms)
    lost = await tried(replace(harness, timing=replace(harness.timing, reconcile=0.0)), generation)

    assert waiting.state is State.STORING
    assert (lost.state, lost.outputs[0].error) == (State.RESULT_LOST, "storage is away")


async def test_pictures_that_are_stored_are_not_copied_again(harness: Harness) -> None:
    generation = await drawn(harness, FIRST, SECOND)
    harness.storage.answers.extend([Copy("generated/x/0.png", "image/png", 1), Later("away")])
    half = await tried(harness, generation)
    done = await tried(harness, generation)

    assert [bool(output.key) for output in half.outputs] == [True, False]
    assert half.state is State.STORING
    assert [index for _, index, _ in harness.storage.asked] == [0, 1, 1]
    assert done.state is State.SUCCEEDED


async def test_one_lost_picture_of_two_leaves_a_success(harness: Harness) -> None:
    generation = await drawn(harness, FIRST, SECOND)
    harness.storage.answers.append(Gone("404"))
    await tried(harness, generation)
    harness.storage.answers.append(Gone("404"))
    done = await tried(harness, generation)

    assert done.state is State.SUCCEEDED
    assert [output.lost for output in done.outputs] == [True, False]
