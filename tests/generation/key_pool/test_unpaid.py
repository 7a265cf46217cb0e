"""A 402 of an account that holds something rests it for that model only; its order ends soon, the others go on."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.notifier import Notifier
from services.generation.key_pool.pool import Key, Wait
from services.generation.model import Draft, State
from services.generation.outcomes import Refused
from services.generation.stores.key_pool import SqlKeyPool, open_key_pool
from services.generation.stores.tables import attempt
from services.generation.stores.tables import generation as generation_table
from tests.generation.harness import DRAFT, Harness, answering
from tests.generation.key_pool.support import CREATES, MODEL, ONE, TWO, PoolClock, taken
from tests.generation.waiting import reached

OTHER = "flux-kontext-pro"
NO_CREDIT = Refused(402, "Credits insufficient.")


@pytest.fixture
async def funded(single: SqlKeyPool) -> SqlKeyPool:
    """One account that holds something."""
    await single.note_balance(ONE, 3.0)
    return single


async def test_an_account_that_holds_something_goes_on_with_other_models(funded: SqlKeyPool) -> None:
    await funded.refused(ONE, 402, None, MODEL)
    wait = await funded.acquire("att_1", MODEL)
    (account,) = (await funded.listing()).accounts

    assert isinstance(wait, Wait)
    assert (wait.code, wait.unpaid) == (402, True)
    assert account.cause_code == 0
    assert account.unpaid_models == (MODEL,)
    assert await taken(funded, 3, OTHER) == [ONE] * 3


@pytest.mark.parametrize(("credits_", "cause"), [(0.5, 0), (1.0, 0), (0.0, 402)])
async def test_the_smallest_balance_is_something_and_zero_is_nothing(
    single: SqlKeyPool, credits_: float, cause: int
) -> None:
    await single.note_balance(ONE, credits_)
    await single.refused(ONE, 402, None, MODEL)
    (account,) = (await single.listing()).accounts

    assert account.cause_code == cause


async def test_another_account_takes_the_model(pool: SqlKeyPool) -> None:
    for key in (ONE, TWO):
        await pool.note_balance(key, 3.0)
    await pool.refused(ONE, 402, None, MODEL)

    assert set(await taken(pool, 4)) == {TWO}


async def test_each_refusal_after_a_rest_makes_the_next_longer_and_those_within_do_not(
    funded: SqlKeyPool, pool_clock: PoolClock
) -> None:
    lengths = []
    for _ in range(3):
        for _ in range(5):
            await funded.refused(ONE, 402, None, MODEL)
        lengths.append((await funded.outlook(MODEL)).seconds)
        await pool_clock.rests_end()
        assert await taken(funded, 1) == [ONE]

    assert lengths == pytest.approx([5.0, 10.0, 20.0], rel=0.15)


async def test_an_order_that_is_taken_makes_the_next_rest_short_again(
    funded: SqlKeyPool, pool_clock: PoolClock
) -> None:
    for _ in range(3):
        await funded.refused(ONE, 402, None, MODEL)
        await pool_clock.rests_end()
    await taken(funded, 1)
    await funded.accepted(ONE, MODEL)
    await funded.refused(ONE, 402, None, MODEL)

    assert (await funded.outlook(MODEL)).seconds == pytest.approx(5.0, rel=0.15)


async def test_a_balance_that_has_grown_ends_the_rest_and_one_that_has_not_does_not(funded: SqlKeyPool) -> None:
    await funded.refused(ONE, 402, None, MODEL)
    await funded.note_balance(ONE, 3.0)
    same = await funded.outlook(MODEL)
    await funded.note_balance(ONE, 30.0)

    assert same.code == 402
    assert await funded.outlook(MODEL) == Wait(0.0)


async def test_the_balance_is_asked_at_once_and_nothing_rests_the_account(funded: SqlKeyPool) -> None:
    """What was known may be a minute old."""
    await funded.due(60, 5)
    await funded.refused(ONE, 402, None, MODEL)
    asked = await funded.due(60, 5)
    await funded.note_balance(ONE, 0.0)
    wait = await funded.outlook(OTHER)

    assert asked == [ONE]
    assert wait.code == 402
    assert wait.seconds == pytest.approx(60.0, rel=0.15)


async def test_an_account_of_which_nobody_knows_rests_until_its_balance_is_known(single: SqlKeyPool) -> None:
    await single.refused(ONE, 402, None, MODEL)
    unknown = await single.outlook(OTHER)
    await single.note_balance(ONE, 3.0)

    assert unknown.code == 402
    assert await single.outlook(OTHER) == Wait(0.0)
    assert (await single.outlook(MODEL)).code == 402


async def test_the_rest_survives_a_restart(funded: SqlKeyPool, database: Database) -> None:
    await funded.refused(ONE, 402, None, MODEL)
    again = await open_key_pool(database, Notifier(), [ONE], CREATES)

    assert (await again.outlook(MODEL)).code == 402


async def refused_once(harness: Harness) -> str:
    """An order that both accounts, which hold something, have refused."""
    for account in ("one", "two"):
        key = await harness.key_pool.reader(account)
        assert isinstance(key, Key)
        await harness.key_pool.note_balance(key, 3.0)
    harness.provider.scripts.extend([answering(NO_CREDIT)] * 2)
    order = await harness.order()
    for _ in range(2):
        await harness.let_time_pass()
        await harness.submit()
    return order.id


async def test_the_order_waits_quietly_and_then_ends_with_the_providers_reason(harness: Harness) -> None:
    order = await refused_once(harness)
    await harness.let_time_pass()
    await harness.submit()
    waiting = await harness.store.get(order)
    async with harness.database.write() as connection:
        await connection.execute(update(attempt).values(create_ms=attempt.c.create_ms - 46_000))
        await connection.execute(update(generation_table).values(ready_ms=generation_table.c.ready_ms - 47_000))
    await harness.let_time_pass()
    await harness.submit()
    ended = await harness.store.get(order)

    assert waiting.state is State.READY
    assert len(harness.provider.submits) == 2
    assert ended.state is State.EXPIRED
    assert ended.failure
    assert (ended.failure.reason, ended.failure.provider_code) == ("UPSTREAM_CREDITS", 402)
    assert NO_CREDIT.message in ended.failure.message
    assert "Nothing was billed" in ended.failure.message


async def test_orders_of_other_models_and_orders_never_refused_go_on(harness: Harness) -> None:
    """Those keep the time that every order has."""
    order = await refused_once(harness)
    never_sent = await harness.order()
    other = await harness.order(draft=Draft(DRAFT.model, "another"))
    async with harness.database.write() as connection:
        await connection.execute(update(attempt).values(create_ms=attempt.c.create_ms - 46_000))
        await connection.execute(update(generation_table).values(ready_ms=generation_table.c.ready_ms - 47_000))
    await harness.let_time_pass()
    await harness.submit()

    assert (await harness.store.get(order)).state is State.EXPIRED
    assert {(await harness.store.get(waiting.id)).state for waiting in (never_sent, other)} == {State.READY}


async def test_an_order_ends_by_itself_while_the_loops_run(harness: Harness) -> None:
    harness = replace(harness, timing=replace(harness.timing, unpaid_within=0.5))
    harness.provider.balances = dict.fromkeys(("one", "two"), 3.0)
    order = await refused_once(harness)
    async with harness.running():
        ended = await reached(harness.store, order, State.EXPIRED)

    assert ended.failure
    assert ended.failure.reason == "UPSTREAM_CREDITS"


async def test_a_new_order_of_the_model_is_told_why(harness: Harness) -> None:
    await refused_once(harness)
    harness = replace(harness, timing=replace(harness.timing, dry_after=0.5, create_wait=30.0))
    with pytest.raises(Unavailable, match="lack of credits") as caught:
        await asyncio.wait_for(harness.generations.create(DRAFT, ""), 20)

    assert caught.value.metadata["provider_code"] == "402"
