"""Old records: taken in as they are, and copied when they lack a picture."""

from dataclasses import replace

import pytest

from catalogue import MODELS
from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from services.generation.core.restoration import Restoration
from services.generation.model import Draft, Failure, Generation, Output, State
from services.generation.outcomes import Gone, Later
from tests.generation.harness import DRAFT, Harness

URI = "https://elsewhere.example/{}.png"
LOST = Output(0, URI.format(0), error="gone", lost=True)


@pytest.fixture
def restoration(harness: Harness) -> Restoration:
    return Restoration(harness.database, harness.sql_store, harness.workers.copier, MODELS, harness.timing)


def old(*outputs: Output, state: State = State.RESULT_LOST) -> Generation:
    failure = Failure("RESULT_LOST", "It was gone.") if state is State.RESULT_LOST else None
    times = {"create_ms": 1_700_000_000_000, "update_ms": 1_700_000_001_000, "complete_ms": 1_700_000_002_000}
    return Generation("gen_old", DRAFT, "", state, outputs=outputs or (LOST,), failure=failure, **times)


async def test_a_record_comes_in_as_it_was_once_and_tells_nobody(harness: Harness, restoration: Restoration) -> None:
    first, second = (
        await restoration.restore(old()),
        await restoration.restore(replace(old(), draft=replace(DRAFT, prompt="x"))),
    )
    kept = await harness.store.get("gen_old")

    assert (first, second) == (True, False)
    assert kept == replace(old(), family=kept.family, ready_ms=old().create_ms)
    assert kept.family
    assert await harness.store.events(0, 10) == []
    async with harness.running():
        assert await harness.store.get("gen_old") == kept
    assert harness.provider.submits == []


@pytest.mark.parametrize("state", [State.READY, State.SENDING, State.RUNNING, State.STORING])
async def test_what_is_under_way_elsewhere_is_not_taken_in(
    harness: Harness, restoration: Restoration, state: State
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await restoration.restore(old(state=state))

    assert refusal.value.reason == "NOT_ENDED"
    with pytest.raises(NotFound):
        await harness.store.get("gen_old")


async def test_a_model_that_we_do_not_know_is_not_taken_in(restoration: Restoration) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await restoration.restore(replace(old(), draft=Draft("nobody/knows", "a cat")))

    assert refusal.value.reason == "UNKNOWN_MODEL"


async def test_a_lost_picture_that_is_there_after_all_makes_a_success(
    harness: Harness, restoration: Restoration
) -> None:
    await restoration.restore(old())
    mended = await restoration.recopy("gen_old")
    [event] = await harness.store.events(0, 10)

    assert (mended.state, mended.failure, mended.progress) == (State.SUCCEEDED, None, 100)
    assert mended.complete_ms > old().complete_ms
    assert mended.outputs == (Output(0, URI.format(0), "generated/gen_old/0.png", "image/png", 7),)
    assert event.generation.state is State.SUCCEEDED
    assert await restoration.recopy("gen_old") == mended
    assert len(harness.storage.asked) == 1


async def test_only_what_lacks_a_copy_is_copied(harness: Harness, restoration: Restoration) -> None:
    stored = Output(0, URI.format(0), "generated/gen_old/0.png", "image/png", 7)
    await restoration.restore(old(stored, replace(LOST, index=1), state=State.SUCCEEDED))
    mended = await restoration.recopy("gen_old")

    assert [output.key for output in mended.outputs] == [f"generated/gen_old/{index}.png" for index in (0, 1)]
    assert [index for _, index, _ in harness.storage.asked] == [1]


@pytest.mark.parametrize("answer", [Gone("404"), Later("storage is away")])
async def test_what_cannot_be_copied_says_why_and_may_be_tried_again(
    harness: Harness, restoration: Restoration, answer: Gone | Later
) -> None:
    await restoration.restore(old())
    harness.storage.answers.append(answer)
    failed = await restoration.recopy("gen_old")
    mended = await restoration.recopy("gen_old")

    assert (failed.state, failed.outputs[0].key) == (State.RESULT_LOST, "")
    assert failed.outputs[0].error
    assert failed.failure
    assert mended.state is State.SUCCEEDED


async def test_what_has_no_pictures_to_copy_is_refused(restoration: Restoration) -> None:
    await restoration.restore(old(state=State.FAILED))

    with pytest.raises(FailedPrecondition) as refusal:
        await restoration.recopy("gen_old")
    assert refusal.value.reason == "NO_PICTURES"


async def test_what_somebody_else_is_at_work_on_is_left_to_them(harness: Harness, restoration: Restoration) -> None:
    await restoration.restore(old())
    await harness.store.hold(await harness.store.get("gen_old"), 60)

    with pytest.raises(Aborted):
        await restoration.recopy("gen_old")
