"""A cancel before the submit is final and costs nothing; after it the row shows CANCELED whatever still arrives."""

import asyncio

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.generation.model import FINAL, State
from services.generation.outcomes import Accepted, Ambiguous, Completed, Outcome, Refused, Rejected
from tests.generation.builders import brought
from tests.generation.harness import Connected, Harness, Submit
from tests.generation.waiting import reached
from tests.support.polling import eventually

URI = "https://temporary.example/a.png"


async def test_a_canceled_order_is_never_submitted(harness: Harness) -> None:
    created = await harness.order()
    canceled = await harness.generations.cancel(created.id)
    await harness.let_leases_end()
    await harness.submit()

    assert canceled.state is State.CANCELED
    assert canceled.complete_ms
    assert harness.provider.submits == []
    assert (await harness.store.get(created.id)).state is State.CANCELED


async def test_a_cancel_while_the_line_opens_stops_the_first_byte(harness: Harness) -> None:
    created = await harness.order()

    async def slow_to_connect(_submit: Submit, connected: Connected) -> Outcome:
        await harness.generations.cancel(created.id)
        await connected()
        return Accepted("task1")

    harness.provider.scripts.append(slow_to_connect)
    async with harness.running():
        await reached(harness.store, created.id, State.CANCELED)

    assert harness.provider.submits == []


@pytest.mark.parametrize("outcome", [Accepted("task1"), Refused(429, "slow"), Rejected(422, "no"), Ambiguous("reset")])
async def test_a_cancel_after_the_first_byte_stays_whatever_the_answer(harness: Harness, outcome: Outcome) -> None:
    created = await harness.order()
    answered = asyncio.Event()

    async def overtaken(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await harness.generations.cancel(created.id)
        answered.set()
        return outcome

    harness.provider.scripts.append(overtaken)
    async with harness.running():
        await answered.wait()
    await harness.let_leases_end()
    await harness.submit()
    now = await harness.store.get(created.id)

    assert now.state is State.CANCELED
    assert len(harness.provider.submits) == 1
    assert now.task_id == ("task1" if isinstance(outcome, Accepted) else "")


async def test_a_result_of_a_canceled_order_is_noted_and_not_copied(harness: Harness) -> None:
    created = await harness.order()
    await harness.submit()
    await harness.generations.cancel(created.id)
    harness.provider.records["task1"] = Completed((URI,))

    async def noted() -> bool:
        return bool((await harness.store.get(created.id)).outputs)

    async with harness.running():
        await harness.callback("task1")
        await eventually(noted)
    now = await harness.store.get(created.id)

    assert now.state is State.CANCELED
    assert [(output.source_uri, output.key) for output in now.outputs] == [(URI, "")]
    assert harness.storage.asked == []


async def test_a_cancel_can_be_repeated(harness: Harness) -> None:
    created = await harness.order()
    first = await harness.generations.cancel(created.id)

    assert await harness.generations.cancel(created.id) == first


@pytest.mark.parametrize("state", sorted(FINAL - {State.CANCELED}))
async def test_what_has_ended_cannot_be_canceled(harness: Harness, state: State) -> None:
    ended = await brought(harness.store, state)

    with pytest.raises(FailedPrecondition):
        await harness.generations.cancel(ended.id)

    assert await harness.store.get(ended.id) == ended


async def test_nothing_can_be_canceled_that_is_not_there(harness: Harness) -> None:
    with pytest.raises(NotFound):
        await harness.generations.cancel("gen_nobody")
