"""While no account takes orders a create is told so at once, with when to come back, and leaves nothing waiting."""

import asyncio
from dataclasses import replace

import pytest

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.generation.answers import NotSent, Refused
from services.generation.keyring import Key
from services.generation.model import State
from services.generation.ports import Change, FenceLost, Page
from tests.generation.keys.lab import Hand
from tests.generation.town import DRAFT, Town, answering, unreachable
from tests.generation.waiting import reached

ACCOUNTS = ("one", "two")


def patient(town: Town) -> Town:
    """Would wait for an answer as long as it takes."""
    return replace(town, plan=replace(town.plan, create_wait=60.0))


async def dried(town: Town, code: int, retry_after: float | None = None) -> Town:
    """No account takes an order."""
    for account in ACCOUNTS:
        key = await town.keys.reader(account)
        assert isinstance(key, Key)
        await town.keys.refused(key, code, retry_after, DRAFT.model)
    return patient(town)


@pytest.mark.parametrize("code", [429, 430, 550])
async def test_an_upstream_that_has_enough_to_do_is_told_as_no_capacity(town: Town, code: int) -> None:
    town = await dried(town, code, 20.0)
    async with town.running():
        with pytest.raises(ResourceExhausted) as caught:
            await town.generations.create(DRAFT, "")

    assert caught.value.reason == "NO_CAPACITY"
    assert caught.value.retry_after == pytest.approx(20.0, abs=3.0)


@pytest.mark.parametrize("code", [401, 402, 433, 455, 505])
async def test_accounts_that_do_not_work_are_told_as_unavailable(town: Town, code: int) -> None:
    town = await dried(town, code)
    town.provider.balances = dict.fromkeys(ACCOUNTS, 0.0)  # a balance would bring a 402 account back at once
    async with town.running():
        with pytest.raises(Unavailable) as caught:
            await town.generations.create(DRAFT, "")

    assert caught.value.reason == "UPSTREAM_UNAVAILABLE"
    assert caught.value.metadata["provider_code"] == str(code)
    assert caught.value.retry_after


async def test_an_order_that_is_sent_away_has_expired_and_nothing_was_sent(town: Town) -> None:
    town = await dried(town, 455)
    async with town.running():
        with pytest.raises(KawaiiError) as caught:
            await town.generations.create(DRAFT, "")
    kept = await town.store.get(caught.value.metadata["generation"])

    assert kept.state is State.EXPIRED
    assert kept.failure
    assert (kept.failure.reason, kept.failure.provider_code) == ("UPSTREAM_UNAVAILABLE", 455)
    assert town.provider.submits == []


async def test_an_order_waits_for_an_account_that_is_back_soon(town: Town) -> None:
    town = await dried(town, 429, 0.3)
    async with town.running():
        created = await town.generations.create(DRAFT, "")

    assert created.task_id == "task1"


async def test_a_full_bucket_is_no_drought(town: Town) -> None:
    for number in range(36):
        assert isinstance(await town.keys.acquire(f"att_{number}", DRAFT.model), Key)
    created = await replace(town, plan=replace(town.plan, create_wait=0.05, dry_after=0.01)).generations.create(
        DRAFT, ""
    )

    assert created.state is State.READY


async def test_an_order_that_was_tried_stays_accepted_when_its_own_refusal_makes_the_drought(town: Town) -> None:
    town = patient(town)
    town.provider.scripts.extend([answering(Refused(402, "no credit"))] * 2)
    town.provider.balances = dict.fromkeys(ACCOUNTS, 0.0)
    async with town.running():
        created = await town.generations.create(DRAFT, "")

    assert created.state is State.READY
    assert len(town.provider.submits) == 2


async def test_what_was_accepted_before_the_drought_goes_on_when_it_ends(town: Town) -> None:
    waiting = await town.order()
    await dried(town, 402)
    town.provider.balances = dict.fromkeys(ACCOUNTS, 0.0)
    async with town.running():
        await town.keys.due(60.0, 0.0)
        still = await town.store.get(waiting.id)
        key = await town.keys.reader("one")
        assert key
        await town.keys.note_balance(key, 7.0)
        await reached(town.store, waiting.id, State.RUNNING)

    assert still.state is State.READY


async def test_the_same_request_orders_again_after_the_drought(town: Town) -> None:
    town = await dried(town, 455)
    async with town.running():
        with pytest.raises(Unavailable):
            await town.generations.create(DRAFT, "key")
        await Hand(town.database).rests_end()
        created = await town.generations.create(DRAFT, "key")

    assert created.task_id == "task1"
    assert not created.joined
    assert len(await town.store.list(Page(10))) == 1


async def test_all_who_make_the_same_order_are_sent_away(town: Town) -> None:
    town = await dried(town, 455)
    async with town.running():
        answers = await asyncio.gather(
            *(town.generations.create(DRAFT, "key") for _ in range(5)), return_exceptions=True
        )

    assert all(isinstance(answer, KawaiiError) for answer in answers)
    (kept,) = await town.store.list(Page(10))
    assert kept.state is State.EXPIRED
    assert town.provider.submits == []


async def test_a_retry_is_sent_away_as_well(town: Town) -> None:
    town.provider.scripts.append(unreachable(NotSent("ConnectError")))
    waiting = await town.order()
    await town.submit()
    await town.store.move(await town.store.get(waiting.id), State.EXPIRED)
    town = await dried(town, 455)
    async with town.running():
        with pytest.raises(Unavailable):
            await town.generations.retry(waiting.id, accept_double_billing=False)

    assert (await town.store.get(waiting.id)).state is State.EXPIRED


async def test_a_balance_that_returns_while_an_order_is_put_off_is_not_missed(town: Town) -> None:
    """Whoever looked a moment too early must not make the order wait for the rest of the old rest."""
    order = await town.order()
    await dried(town, 402)
    (looking,) = await town.store.claim([State.READY], 1, 60)
    key = await town.keys.reader("one")
    assert key
    await town.keys.note_balance(key, 0.0)
    await town.keys.note_balance(key, 7.0)

    with pytest.raises(FenceLost):
        await town.store.touch(looking, Change(due_in=60.0))
    await town.submit()
    assert (await town.store.get(order.id)).state is State.RUNNING
