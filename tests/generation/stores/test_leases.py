"""Work goes to one claimer at a time and comes back when its claimer dies; parked work goes to nobody; every engine."""

import asyncio
from collections import Counter

import pytest

from services.chassis.parking import Parking
from services.generation.model import LOOP_OF, Output, State
from services.generation.ports import Change, FenceLost
from tests.generation.builders import attempt_for, brought, ordered, park
from tests.support.awaited import Awaited
from tests.support.polling import eventually

READY = [State.READY]


async def test_fifty_claimers_share_the_work_without_overlap(store: Awaited) -> None:
    orders = {(await ordered(store)).id for _ in range(60)}

    claims = await asyncio.gather(*(store.claim(READY, 2, 60) for _ in range(50)))

    taken = Counter(generation.id for claimed in claims for generation in claimed)
    assert max(map(len, claims)) <= 2
    assert set(taken.values()) == {1}
    while left := await store.claim(READY, 50, 60):
        taken.update(generation.id for generation in left)
    assert taken == Counter(orders)


async def test_a_claim_raises_fence_and_tries(store: Awaited) -> None:
    stored = await ordered(store)
    (claimed,) = await store.claim(READY, 1, 60)

    assert (claimed.fence, claimed.tries) == (stored.fence + 1, stored.tries + 1)
    assert (claimed.draft, claimed.state) == (stored.draft, stored.state)


async def test_leased_work_is_not_given_again(store: Awaited) -> None:
    await ordered(store)
    await store.claim(READY, 1, 60)

    assert await store.claim(READY, 1, 60) == []


async def test_work_comes_back_when_its_lease_ends(store: Awaited) -> None:
    await ordered(store)
    (first,) = await store.claim(READY, 1, 0.01)

    async def back() -> bool:
        second = await store.claim(READY, 1, 60)
        return [(row.id, row.fence, row.tries) for row in second] == [(first.id, first.fence + 1, 2)]

    await eventually(back)


async def test_a_dead_claimers_late_write_is_refused(store: Awaited) -> None:
    await ordered(store)
    (expired,) = await store.claim(READY, 1, 0.0)
    (heir,) = await store.claim(READY, 1, 60)

    with pytest.raises(FenceLost):
        await store.move(expired, State.EXPIRED)
    with pytest.raises(FenceLost):
        await store.dial(expired, attempt_for(expired))

    assert await store.get(heir.id) == heir
    assert (await store.dial(heir, attempt_for(heir))).state is State.DIALING


async def test_a_refused_dial_leaves_no_attempt(store: Awaited) -> None:
    await ordered(store)
    (expired,) = await store.claim(READY, 1, 0.0)
    await store.claim(READY, 1, 60)
    attempt = attempt_for(expired)

    with pytest.raises(FenceLost):
        await store.dial(expired, attempt)

    assert await store.attempt(attempt.id) is None


async def test_a_renewed_lease_holds(store: Awaited) -> None:
    await ordered(store)
    (held,) = await store.claim(READY, 1, 0.0)
    await store.renew(held, 60)

    assert await store.claim(READY, 1, 60) == []


async def test_a_lost_lease_cannot_be_renewed(store: Awaited) -> None:
    await ordered(store)
    (held,) = await store.claim(READY, 1, 0.0)
    await store.claim(READY, 1, 60)

    with pytest.raises(FenceLost):
        await store.renew(held, 60)


async def test_work_that_is_not_due_waits(store: Awaited) -> None:
    await ordered(store)
    (claimed,) = await store.claim(READY, 1, 60)
    await store.touch(claimed, Change(due_in=3600))

    assert await store.claim(READY, 1, 60) == []


async def test_a_touch_gives_the_work_back(store: Awaited) -> None:
    await ordered(store)
    (claimed,) = await store.claim(READY, 1, 60)
    await store.touch(claimed, Change())

    assert [row.id for row in await store.claim(READY, 1, 60)] == [claimed.id]


async def test_what_waits_longest_goes_first(store: Awaited) -> None:
    first, second = await ordered(store), await ordered(store)
    for held in await store.claim(READY, 2, 60):
        await store.touch(held, Change(due_in=-30 if held.id == first.id else -60))

    assert [row.id for row in await store.claim(READY, 1, 60)] == [second.id]
    assert [row.id for row in await store.claim(READY, 1, 60)] == [first.id]


async def test_other_states_are_left_alone(store: Awaited) -> None:
    await ordered(store)

    assert await store.claim([State.RUNNING, State.STORING], 10, 60) == []


async def test_a_claim_of_nothing_takes_nothing(store: Awaited) -> None:
    await ordered(store)

    assert await store.claim(READY, 0, 60) == []
    assert len(await store.claim(READY, 10, 60)) == 1


async def test_a_hold_is_of_one_holder_in_any_state(store: Awaited) -> None:
    done = await brought(store, State.SUCCEEDED)
    held = await store.hold(done, 60)

    assert (held.state, held.fence) == (State.SUCCEEDED, done.fence + 1)
    for stale in (done, held):
        with pytest.raises(FenceLost):
            await store.hold(stale, 60)
    touched = await store.touch(held, Change(outputs=(Output(0, "https://temporary.example/a.png"),)))
    assert (touched.state, len(touched.outputs)) == (State.SUCCEEDED, 1)
    assert (await store.hold(touched, 60)).fence == held.fence + 1


async def test_a_lease_that_was_given_back_cannot_be_renewed(store: Awaited) -> None:
    """A renewal that was on its way while the work ended would keep the next claimer waiting for a lease."""
    await ordered(store)
    (held,) = await store.claim(READY, 1, 60)
    await store.touch(held, Change())

    with pytest.raises(FenceLost):
        await store.renew(held, 60)

    assert [row.id for row in await store.claim(READY, 1, 60)] == [held.id]


@pytest.mark.parametrize("state", [State.READY, State.AMBIGUOUS, State.RUNNING, State.STORING])
async def test_a_parked_generation_is_claimed_by_nobody_until_it_is_released(
    store: Awaited, parking: Parking, state: State
) -> None:
    held, neighbour = await brought(store, state), await brought(store, state)
    await park(parking, LOOP_OF[state], held.id)
    while_parked = [row.id for row in await store.claim([state], 10, 0.0)]
    await parking.release(LOOP_OF[state], held.id)

    assert while_parked == [neighbour.id]
    assert {row.id for row in await store.claim([state], 10, 0.0)} == {held.id, neighbour.id}


async def test_what_is_parked_in_one_loop_goes_on_in_another(store: Awaited, parking: Parking) -> None:
    held = await brought(store, State.STORING)
    await park(parking, LOOP_OF[State.RUNNING], held.id)

    assert [row.id for row in await store.claim([State.STORING], 10, 60)] == [held.id]


async def test_a_new_chain_of_attempts_is_not_held_up_by_what_was_parked(store: Awaited, parking: Parking) -> None:
    unknown = await brought(store, State.UNKNOWN)
    await park(parking, LOOP_OF[State.READY], unknown.id)
    await store.restart(unknown)

    assert [row.id for row in await store.claim([State.READY], 10, 60)] == [unknown.id]
