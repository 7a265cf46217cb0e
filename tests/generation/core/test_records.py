"""Old records: taken in as they are, and copied when they lack a picture."""

from dataclasses import replace

import pytest

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from services.generation.answers import Gone, Later
from services.generation.core.records import Records
from services.generation.model import Draft, Failure, Generation, Output, State
from services.generation.providers.models import MODELS
from tests.generation.town import DRAFT, Town

URI = "https://elsewhere.example/{}.png"
LOST = Output(0, URI.format(0), error="gone", lost=True)


@pytest.fixture
def records(town: Town) -> Records:
    return Records(town.store, town.crew.keeper, MODELS, town.plan)


def old(*outputs: Output, state: State = State.RESULT_LOST) -> Generation:
    failure = Failure("RESULT_LOST", "It was gone.") if state is State.RESULT_LOST else None
    times = {"create_ms": 1_700_000_000_000, "update_ms": 1_700_000_001_000, "complete_ms": 1_700_000_002_000}
    return Generation("gen_old", DRAFT, "", state, outputs=outputs or (LOST,), failure=failure, **times)


async def test_a_record_comes_in_as_it_was_once_and_tells_nobody(town: Town, records: Records) -> None:
    first, second = (
        await records.restore(old()),
        await records.restore(replace(old(), draft=replace(DRAFT, prompt="x"))),
    )
    kept = await town.store.get("gen_old")

    assert (first, second) == (True, False)
    assert kept == replace(old(), family=kept.family, ready_ms=old().create_ms)
    assert kept.family
    assert await town.store.events(0, 10) == []
    async with town.running():
        assert await town.store.get("gen_old") == kept
    assert town.provider.submits == []


@pytest.mark.parametrize("state", [State.READY, State.SENDING, State.RUNNING, State.STORING])
async def test_what_is_under_way_elsewhere_is_not_taken_in(town: Town, records: Records, state: State) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await records.restore(old(state=state))

    assert refusal.value.reason == "NOT_ENDED"
    with pytest.raises(NotFound):
        await town.store.get("gen_old")


async def test_a_model_that_we_do_not_know_is_not_taken_in(records: Records) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await records.restore(replace(old(), draft=Draft("nobody/knows", "a cat")))

    assert refusal.value.reason == "UNKNOWN_MODEL"


async def test_a_lost_picture_that_is_there_after_all_makes_a_success(town: Town, records: Records) -> None:
    await records.restore(old())
    mended = await records.recopy("gen_old")
    [event] = await town.store.events(0, 10)

    assert (mended.state, mended.failure, mended.progress) == (State.SUCCEEDED, None, 100)
    assert mended.complete_ms > old().complete_ms
    assert mended.outputs == (Output(0, URI.format(0), "generated/gen_old/0.png", "image/png", 7),)
    assert event.generation.state is State.SUCCEEDED
    assert await records.recopy("gen_old") == mended
    assert len(town.archive.asked) == 1


async def test_only_what_lacks_a_copy_is_copied(town: Town, records: Records) -> None:
    stored = Output(0, URI.format(0), "generated/gen_old/0.png", "image/png", 7)
    await records.restore(old(stored, replace(LOST, index=1), state=State.SUCCEEDED))
    mended = await records.recopy("gen_old")

    assert [output.key for output in mended.outputs] == [f"generated/gen_old/{index}.png" for index in (0, 1)]
    assert [index for _, index, _ in town.archive.asked] == [1]


@pytest.mark.parametrize("answer", [Gone("404"), Later("storage is away")])
async def test_what_cannot_be_copied_says_why_and_may_be_tried_again(
    town: Town, records: Records, answer: Gone | Later
) -> None:
    await records.restore(old())
    town.archive.answers.append(answer)
    failed = await records.recopy("gen_old")
    mended = await records.recopy("gen_old")

    assert (failed.state, failed.outputs[0].key) == (State.RESULT_LOST, "")
    assert failed.outputs[0].error
    assert failed.failure
    assert mended.state is State.SUCCEEDED


async def test_what_has_no_pictures_to_copy_is_refused(records: Records) -> None:
    await records.restore(old(state=State.FAILED))

    with pytest.raises(FailedPrecondition) as refusal:
        await records.recopy("gen_old")
    assert refusal.value.reason == "NO_PICTURES"


async def test_what_somebody_else_is_at_work_on_is_left_to_them(town: Town, records: Records) -> None:
    await records.restore(old())
    await town.store.hold(await town.store.get("gen_old"), 60)

    with pytest.raises(Aborted):
        await records.recopy("gen_old")
