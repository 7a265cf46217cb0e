"""While no account takes orders a create is refused at once, with when to come back, and leaves nothing waiting."""

import asyncio
from dataclasses import replace

import pytest

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.generation.key_pool.pool import Key
from services.generation.model import State
from services.generation.outcomes import NotSent, Refused
from services.generation.ports import Change, FenceLost, Page
from tests.generation.harness import DRAFT, Harness, answering, unreachable
from tests.generation.key_pool.support import PoolClock
from tests.generation.waiting import reached

ACCOUNTS = ("one", "two")


def patient(harness: Harness) -> Harness:
    """Would wait for an answer as long as it takes."""
    return replace(harness, timing=replace(harness.timing, create_wait=60.0))


async def dried(harness: Harness, code: int, retry_after: float | None = None) -> Harness:
    """No account takes an order."""
    for account in ACCOUNTS:
        key = await harness.key_pool.reader(account)
        assert isinstance(key, Key)
        await harness.key_pool.refused(key, code, retry_after, DRAFT.model)
    return patient(harness)


@pytest.mark.parametrize("code", [429, 430, 550])
async def test_an_upstream_that_has_enough_to_do_is_told_as_no_capacity(harness: Harness, code: int) -> None:
    harness = await dried(harness, code, 20.0)
    async with harness.running():
        with pytest.raises(ResourceExhausted) as caught:
            await harness.generations.create(DRAFT, "")

    assert caught.value.reason == "NO_CAPACITY"
    assert caught.value.retry_after == pytest.approx(20.0, abs=3.0)


@pytest.mark.parametrize("code", [401, 402, 433, 455, 505])
async def test_accounts_that_do_not_work_are_told_as_unavailable(harness: Harness, code: int) -> None:
    harness = await dried(harness, code)
    harness.provider.balances = dict.fromkeys(ACCOUNTS, 0.0)  # a balance would bring a 402 account back at once
    async with harness.running():
        with pytest.raises(Unavailable) as caught:
            await harness.generations.create(DRAFT, "")

    assert caught.value.reason == "UPSTREAM_UNAVAILABLE"
    assert caught.value.metadata["provider_code"] == str(code)
    assert caught.value.retry_after


async def test_an_order_that_is_refused_has_expired_and_nothing_was_sent(harness: Harness) -> None:
    harness = await dried(harness, 455)
    async with harness.running():
        with pytest.raises(KawaiiError) as caught:
            await harness.generations.create(DRAFT, "")
    kept = await harness.store.get(caught.value.metadata["generation"])

    assert kept.state is State.EXPIRED
    assert kept.failure
    assert (kept.failure.reason, kept.failure.provider_code) == ("UPSTREAM_UNAVAILABLE", 455)
    assert harness.provider.submits == []


async def test_an_order_waits_for_an_account_that_is_back_soon(harness: Harness) -> None:
    harness = await dried(harness, 429, 0.3)
    async with harness.running():
        created = (await harness.generations.create(DRAFT, "")).generation

    assert created.task_id == "task1"


async def test_a_full_bucket_refuses_no_order(harness: Harness) -> None:
    for number in range(36):
        assert isinstance(await harness.key_pool.acquire(f"att_{number}", DRAFT.model), Key)
    created = (
        await replace(harness, timing=replace(harness.timing, create_wait=0.05, dry_after=0.01)).generations.create(
            DRAFT, ""
        )
    ).generation

    assert created.state is State.READY


async def test_an_order_that_was_tried_stays_accepted_when_its_own_refusal_leaves_no_account(harness: Harness) -> None:
    harness = patient(harness)
    harness.provider.scripts.extend([answering(Refused(402, "no credit"))] * 2)
    harness.provider.balances = dict.fromkeys(ACCOUNTS, 0.0)
    async with harness.running():
        created = (await harness.generations.create(DRAFT, "")).generation

    assert created.state is State.READY
    assert len(harness.provider.submits) == 2


async def test_an_accepted_order_goes_on_when_an_account_works_again(harness: Harness) -> None:
    waiting = await harness.order()
    await dried(harness, 402)
    harness.provider.balances = dict.fromkeys(ACCOUNTS, 0.0)
    async with harness.running():
        await harness.key_pool.due(60.0, 0.0)
        still = await harness.store.get(waiting.id)
        key = await harness.key_pool.reader("one")
        assert key
        await harness.key_pool.note_balance(key, 7.0)
        await reached(harness.store, waiting.id, State.RUNNING)

    assert still.state is State.READY


async def test_the_same_request_orders_again_once_an_account_works(harness: Harness) -> None:
    harness = await dried(harness, 455)
    async with harness.running():
        with pytest.raises(Unavailable):
            await harness.generations.create(DRAFT, "key")
        await PoolClock(harness.database).rests_end()
        placed = await harness.generations.create(DRAFT, "key")

    assert placed.generation.task_id == "task1"
    assert not placed.joined
    assert len(await harness.store.list(Page(10))) == 1


async def test_all_who_make_the_same_order_are_refused(harness: Harness) -> None:
    harness = await dried(harness, 455)
    async with harness.running():
        answers = await asyncio.gather(
            *(harness.generations.create(DRAFT, "key") for _ in range(5)), return_exceptions=True
        )

    assert all(isinstance(answer, KawaiiError) for answer in answers)
    (kept,) = await harness.store.list(Page(10))
    assert kept.state is State.EXPIRED
    assert harness.provider.submits == []


async def test_a_retry_is_refused_as_well(harness: Harness) -> None:
    harness.provider.scripts.append(unreachable(NotSent("ConnectError")))
    waiting = await harness.order()
    await harness.submit()
    await harness.store.move(await harness.store.get(waiting.id), State.EXPIRED)
    harness = await dried(harness, 455)
    async with harness.running():
        with pytest.raises(Unavailable):
            await harness.generations.retry(waiting.id, accept_double_billing=False)

    assert (await harness.store.get(waiting.id)).state is State.EXPIRED


async def test_a_balance_that_returns_while_an_order_is_put_off_is_not_missed(harness: Harness) -> None:
    """Whoever looked a moment too early must not make the order wait for the rest of the old rest."""
    order = await harness.order()
    await dried(harness, 402)
    (looking,) = await harness.store.claim([State.READY], 1, 60)
    key = await harness.key_pool.reader("one")
    assert key
    await harness.key_pool.note_balance(key, 0.0)
    await harness.key_pool.note_balance(key, 7.0)

    with pytest.raises(FenceLost):
        await harness.store.touch(looking, Change(due_in=60.0))
    await harness.submit()
    assert (await harness.store.get(order.id)).state is State.RUNNING
