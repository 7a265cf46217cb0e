"""A cancel before the submit is final and costs nothing; after it the row shows CANCELED whatever still arrives."""

import asyncio

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.generation.answers import Accepted, Ambiguous, Drawn, Outcome, Refused, Rejected
from services.generation.model import FINAL, State
from tests.generation.builders import brought
from tests.generation.town import Connected, Submit, Town
from tests.generation.waiting import eventually, reached

URI = "https://temporary.example/a.png"


async def test_a_canceled_order_is_never_submitted(town: Town) -> None:
    created = await town.order()
    canceled = await town.generations.cancel(created.id)
    await town.let_leases_end()
    await town.submit()

    assert canceled.state is State.CANCELED
    assert canceled.complete_ms
    assert town.provider.submits == []
    assert (await town.store.get(created.id)).state is State.CANCELED


async def test_a_cancel_while_the_line_opens_stops_the_first_byte(town: Town) -> None:
    created = await town.order()

    async def slow_to_connect(_submit: Submit, connected: Connected) -> Outcome:
        await town.generations.cancel(created.id)
        await connected()
        return Accepted("task1")

    town.provider.scripts.append(slow_to_connect)
    async with town.running():
        await reached(town.store, created.id, State.CANCELED)

    assert town.provider.submits == []


@pytest.mark.parametrize("outcome", [Accepted("task1"), Refused(429, "slow"), Rejected(422, "no"), Ambiguous("reset")])
async def test_a_cancel_after_the_first_byte_stays_whatever_the_answer(town: Town, outcome: Outcome) -> None:
    created = await town.order()
    answered = asyncio.Event()

    async def overtaken(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await town.generations.cancel(created.id)
        answered.set()
        return outcome

    town.provider.scripts.append(overtaken)
    async with town.running():
        await answered.wait()
    await town.let_leases_end()
    await town.submit()
    now = await town.store.get(created.id)

    assert now.state is State.CANCELED
    assert len(town.provider.submits) == 1
    assert now.task_id == ("task1" if isinstance(outcome, Accepted) else "")


async def test_a_result_of_a_canceled_order_is_noted_and_not_copied(town: Town) -> None:
    created = await town.order()
    await town.submit()
    await town.generations.cancel(created.id)
    town.provider.records["task1"] = Drawn((URI,))

    async def noted() -> bool:
        return bool((await town.store.get(created.id)).outputs)

    async with town.running():
        await town.callback("task1")
        await eventually(noted)
    now = await town.store.get(created.id)

    assert now.state is State.CANCELED
    assert [(output.source_uri, output.key) for output in now.outputs] == [(URI, "")]
    assert town.archive.asked == []


async def test_a_cancel_can_be_repeated(town: Town) -> None:
    created = await town.order()
    first = await town.generations.cancel(created.id)

    assert await town.generations.cancel(created.id) == first


@pytest.mark.parametrize("state", sorted(FINAL - {State.CANCELED}))
async def test_what_has_ended_cannot_be_canceled(town: Town, state: State) -> None:
    ended = await brought(town.store, state)

    with pytest.raises(FailedPrecondition):
        await town.generations.cancel(ended.id)

    assert await town.store.get(ended.id) == ended


async def test_nothing_can_be_canceled_that_is_not_there(town: Town) -> None:
    with pytest.raises(NotFound):
        await town.generations.cancel("gen_nobody")
