"""A refusal rests its key, account or model, or account and model together; every rest ends by itself, on any engine.

A 402 of an account that holds something rests it for that model only; its order ends soon, the others go on.
"""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from services.chassis.database import Database
from services.chassis.errors import NotFound, Unavailable
from services.generation.key_pool.cooldowns import COOLDOWNS, Scope
from services.generation.key_pool.pool import Key, KeyPool, Wait
from services.generation.model import Draft, State
from services.generation.outcomes import Refused
from services.generation.ports import Change
from services.generation.stores.key_pool import open_key_pool
from services.generation.stores.tables import attempt, unpaid_model
from services.generation.stores.tables import generation as generation_table
from tests.generation.builders import ordered, row_count
from tests.generation.harness import DRAFT, Harness, answering
from tests.generation.key_pool.support import CREATES, MODEL, ONE, ONE_B, TWO, PoolClock, taken
from tests.generation.waiting import reached
from tests.support.awaited import Awaited
from tests.support.sql import execute

KEY_CODES = [code for code, row in COOLDOWNS.items() if row.scope is Scope.KEY]

ACCOUNT_CODES = [code for code, row in COOLDOWNS.items() if row.scope is Scope.ACCOUNT]

TIMED = [429, 430, 433, 455, 505, 550]


@pytest.mark.parametrize("code", KEY_CODES)
async def test_a_refused_key_rests_alone(pool: KeyPool, code: int) -> None:
    await pool.refused(ONE, code, None)

    assert set(await taken(pool, 8)) == {ONE_B, TWO}


@pytest.mark.parametrize("code", ACCOUNT_CODES)
async def test_a_refused_account_rests_with_all_its_keys(pool: KeyPool, code: int) -> None:
    await pool.refused(ONE, code, None)

    assert set(await taken(pool, 8)) == {TWO}


async def test_a_model_that_is_off_rests_at_every_account(pool: KeyPool) -> None:
    await pool.refused(ONE, 505, None, MODEL)
    wait = await pool.acquire("att_1", MODEL)

    assert isinstance(wait, Wait)
    assert wait.code == 505
    assert len(await taken(pool, 3, "flux-kontext-pro")) == 3


@pytest.mark.parametrize(("code", "model"), [(429, MODEL), (402, "")])
async def test_only_an_order_that_was_not_paid_rests_an_account_and_a_model_together(
    single: KeyPool, database: Database, code: int, model: str
) -> None:
    await single.refused(ONE, code, None, model)

    assert await row_count(database, unpaid_model) == 0


async def test_an_order_that_was_not_paid_rests_an_account_and_a_model_together(
    single: KeyPool, database: Database
) -> None:
    await single.refused(ONE, 402, None, MODEL)

    assert await row_count(database, unpaid_model) == 1


@pytest.mark.parametrize("code", TIMED)
async def test_a_rest_ends_by_itself(single: KeyPool, pool_clock: PoolClock, code: int) -> None:
    await single.refused(ONE, code, None, MODEL)
    resting = await single.outlook(MODEL)
    await pool_clock.rests_end()

    assert resting.code == code
    assert resting.seconds == pytest.approx(COOLDOWNS[code].seconds, rel=0.15)
    assert await single.outlook(MODEL) == Wait(0.0)


@pytest.mark.parametrize("code", [401, 402])
async def test_a_rest_that_only_a_probe_or_balance_ends_is_not_ended_by_time(
    single: KeyPool, pool_clock: PoolClock, code: int
) -> None:
    await single.refused(ONE, code, None)
    await pool_clock.rests_end()

    assert (await single.outlook(MODEL)).code == code


@pytest.mark.parametrize("code", sorted(set(TIMED) & set(KEY_CODES)))
async def test_a_key_whose_rest_is_over_shows_no_cause_any_more(
    single: KeyPool, pool_clock: PoolClock, code: int
) -> None:
    await single.refused(ONE, code, None)
    resting = await single.status(ONE.print)
    await pool_clock.rests_end()
    over = await single.status(ONE.print)

    assert resting.cause_code == code
    assert resting.rest_until_ms
    assert (over.cause_code, over.rest_until_ms) == (0, 0)


async def test_an_account_is_configured_when_the_settings_name_it_or_the_key(single: KeyPool) -> None:
    assert single.configured("one")
    assert single.configured("renamed", ONE.print)
    assert not single.configured("two", TWO.print)


async def test_a_balance_ends_the_rests_of_key_and_account(single: KeyPool) -> None:
    await single.refused(ONE, 401, None)
    await single.refused(ONE, 402, None)
    await single.note_balance(ONE, 0.0)
    dry = await single.outlook(MODEL)
    await single.note_balance(ONE, 0.5)

    assert dry.code == 402
    assert await single.outlook(MODEL) == Wait(0.0)
    assert (await single.listing()).accounts[0].credits == 0.5


async def test_retry_after_is_obeyed(single: KeyPool) -> None:
    await single.refused(ONE, 429, 3.0)

    assert (await single.outlook(MODEL)).seconds == pytest.approx(3.0, abs=1.0)


async def test_a_rest_is_not_cut_short(single: KeyPool) -> None:
    await single.refused(ONE, 455, None)
    await single.refused(ONE, 429, 1.0)

    assert (await single.outlook(MODEL)).code == 455


async def test_a_timed_rest_does_not_replace_a_probed_one(single: KeyPool, pool_clock: PoolClock) -> None:
    await single.refused(ONE, 402, None)
    await single.refused(ONE, 429, 3000.0)
    await pool_clock.rests_end()

    assert (await single.outlook(MODEL)).code == 402


async def test_when_all_rest_the_soonest_return_is_told(pool: KeyPool) -> None:
    await pool.refused(ONE, 402, None)
    await pool.refused(TWO, 550, 20.0)
    wait = await pool.outlook(MODEL)

    assert wait.code == 550
    assert wait.seconds == pytest.approx(20.0, abs=1.0)


async def test_an_account_that_is_merely_busy_blames_no_code(pool: KeyPool) -> None:
    await pool.refused(TWO, 429, 2.0)
    await taken(pool, CREATES)

    assert (await pool.outlook(MODEL)).code == 0


async def test_rests_survive_a_restart(pool: KeyPool, database: Database) -> None:
    await pool.refused(ONE, 401, None)
    await pool.refused(TWO, 455, None)
    await pool.disable(ONE_B.print)
    before = await pool.listing()
    restarted = await open_key_pool(database, [ONE, ONE_B, TWO], CREATES)

    assert await restarted.listing() == before
    assert {key.cause_code for key in before.keys} == {0, 401}


async def test_another_replica_sees_a_rest_at_once(pool: KeyPool, database: Database) -> None:
    other = await open_key_pool(database, [ONE, ONE_B, TWO], CREATES)
    await pool.refused(TWO, 402, None)

    assert TWO not in await taken(other, 4)


async def test_keys_that_left_the_settings_leave_the_pool(pool: KeyPool, database: Database) -> None:
    await pool.refused(ONE, 401, None)
    smaller = await open_key_pool(database, [TWO, ONE], CREATES)
    shown = await smaller.listing()

    assert [key.print for key in shown.keys] == [TWO.print, ONE.print]
    assert shown.keys[1].cause_code == 401
    await open_key_pool(database, [TWO], CREATES)
    assert [account.name for account in (await smaller.listing()).accounts] == ["two"]
    assert set(await taken(pool, 4)) == {TWO}


async def test_an_empty_pool_says_that_no_account_works(database: Database) -> None:
    empty = await open_key_pool(database, [], CREATES)

    assert (await empty.outlook(MODEL)).code == 401
    assert await empty.reader() is None
    assert await empty.due(60, 5) == ()


async def test_an_operator_takes_a_key_out_and_puts_it_back(pool: KeyPool) -> None:
    out = await pool.disable(TWO.print)
    without = set(await taken(pool, 3))
    await pool.refused(TWO, 433, None)
    back = await pool.enable(TWO.print)

    assert out.disabled
    assert TWO not in without
    assert (back.disabled, back.cause_code) == (False, 0)
    assert TWO in await taken(pool, 4)


async def test_a_key_that_is_not_of_the_pool_is_not_found(pool: KeyPool) -> None:
    for ask in (pool.enable, pool.disable, pool.find, pool.status):
        with pytest.raises(NotFound) as caught:
            await ask("00000000")
        assert caught.value.reason == "KEY_NOT_FOUND"


async def test_a_reader_is_of_the_account_it_is_asked_for(pool: KeyPool) -> None:
    """Another account's key sees nothing of the task, and would make it look lost."""
    assert await pool.reader("two") == TWO
    assert await pool.reader("gone") is None
    assert await pool.reader() == ONE


async def test_a_resting_account_is_still_read(pool: KeyPool) -> None:
    await pool.refused(TWO, 402, None)

    assert await pool.reader("two") == TWO


async def test_a_key_that_is_not_accepted_does_not_read_but_its_sibling_does(
    pool: KeyPool, pool_clock: PoolClock
) -> None:
    await pool.refused(ONE, 401, None)
    await pool_clock.rests_end()
    sibling = await pool.reader("one")
    await pool.refused(ONE_B, 401, None)

    assert sibling == ONE_B
    assert await pool.reader("one") is None


async def test_a_key_that_is_taken_out_reads_only_if_its_account_has_no_better(pool: KeyPool) -> None:
    await pool.disable(ONE.print)
    await pool.disable(TWO.print)

    assert await pool.reader("one") == ONE_B
    assert await pool.reader("two") == TWO


async def test_each_balance_is_due_once_in_its_time(pool: KeyPool, pool_clock: PoolClock) -> None:
    first = await pool.due(60, 5)
    again = await pool.due(60, 5)
    await pool_clock.balances_age()

    assert [key.account for key in first] == ["one", "two"]
    assert again == ()
    assert len(await pool.due(60, 5)) == 2


async def test_a_dry_account_is_asked_more_often(pool: KeyPool) -> None:
    await pool.due(60, 0)
    await pool.refused(TWO, 402, None)

    assert await pool.due(60, 0) == [TWO]


async def test_a_key_is_probed_when_its_rest_ends_and_then_later_each_time(
    single: KeyPool, pool_clock: PoolClock
) -> None:
    await single.due(60, 5)
    await single.refused(ONE, 401, None)
    resting = await single.due(60, 5)
    lengths = []
    for _ in range(3):
        await pool_clock.rests_end()
        assert await single.due(60, 5) == [ONE]
        assert await single.due(60, 5) == ()
        lengths.append((await single.outlook(MODEL)).seconds)

    assert resting == ()
    assert lengths[0] < lengths[1] < lengths[2]


async def test_replicas_do_not_ask_the_same_twice(pool: KeyPool, database: Database) -> None:
    other = await open_key_pool(database, [ONE, ONE_B, TWO], CREATES)
    asked = [*await pool.due(60, 5), *await other.due(60, 5)]

    assert sorted(key.account for key in asked) == ["one", "two"]


@pytest.mark.parametrize("code", [401, 402])
async def test_the_end_of_a_rest_wakes_the_orders_that_wait(single: KeyPool, store: Awaited, code: int) -> None:
    await ordered(store)
    (claimed,) = await store.claim([State.READY], 1, 60)
    await store.touch(claimed, Change(due_in=3600))
    await single.refused(ONE, code, None)
    asleep = await store.claim([State.READY], 1, 60)
    await single.note_balance(ONE, 5.0)

    assert asleep == []
    assert [row.id for row in await store.claim([State.READY], 1, 60)] == [claimed.id]


def test_a_key_never_shows_its_value() -> None:
    assert "secret" not in repr(ONE) + str(ONE) + f"{[ONE]}"
    assert ONE.print in repr(ONE)
    assert isinstance(ONE, Key)


OTHER = "flux-kontext-pro"

NO_CREDIT = Refused(402, "Credits insufficient.")


@pytest.fixture
async def funded(single: KeyPool) -> KeyPool:
    """One account that holds something."""
    await single.note_balance(ONE, 3.0)
    return single


async def test_an_account_that_holds_something_goes_on_with_other_models(funded: KeyPool) -> None:
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
    single: KeyPool, credits_: float, cause: int
) -> None:
    await single.note_balance(ONE, credits_)
    await single.refused(ONE, 402, None, MODEL)
    (account,) = (await single.listing()).accounts

    assert account.cause_code == cause


async def test_another_account_takes_the_model(pool: KeyPool) -> None:
    for key in (ONE, TWO):
        await pool.note_balance(key, 3.0)
    await pool.refused(ONE, 402, None, MODEL)

    assert set(await taken(pool, 4)) == {TWO}


async def test_each_refusal_after_a_rest_makes_the_next_longer_and_those_within_do_not(
    funded: KeyPool, pool_clock: PoolClock
) -> None:
    lengths = []
    for _ in range(3):
        for _ in range(5):
            await funded.refused(ONE, 402, None, MODEL)
        lengths.append((await funded.outlook(MODEL)).seconds)
        await pool_clock.rests_end()
        assert await taken(funded, 1) == [ONE]

    assert lengths == pytest.approx([5.0, 10.0, 20.0], rel=0.15)


async def test_an_order_that_is_taken_makes_the_next_rest_short_again(funded: KeyPool, pool_clock: PoolClock) -> None:
    for _ in range(3):
        await funded.refused(ONE, 402, None, MODEL)
        await pool_clock.rests_end()
    await taken(funded, 1)
    await funded.accepted(ONE, MODEL)
    await funded.refused(ONE, 402, None, MODEL)

    assert (await funded.outlook(MODEL)).seconds == pytest.approx(5.0, rel=0.15)


async def test_a_balance_that_has_grown_ends_the_rest_and_one_that_has_not_does_not(funded: KeyPool) -> None:
    await funded.refused(ONE, 402, None, MODEL)
    await funded.note_balance(ONE, 3.0)
    same = await funded.outlook(MODEL)
    await funded.note_balance(ONE, 30.0)

    assert same.code == 402
    assert await funded.outlook(MODEL) == Wait(0.0)


async def test_the_balance_is_asked_at_once_and_nothing_rests_the_account(funded: KeyPool) -> None:
    """What was known may be a minute old."""
    await funded.due(60, 5)
    await funded.refused(ONE, 402, None, MODEL)
    asked = await funded.due(60, 5)
    await funded.note_balance(ONE, 0.0)
    wait = await funded.outlook(OTHER)

    assert asked == [ONE]
    assert wait.code == 402
    assert wait.seconds == pytest.approx(60.0, rel=0.15)


async def test_an_account_of_which_nobody_knows_rests_until_its_balance_is_known(single: KeyPool) -> None:
    await single.refused(ONE, 402, None, MODEL)
    unknown = await single.outlook(OTHER)
    await single.note_balance(ONE, 3.0)

    assert unknown.code == 402
    assert await single.outlook(OTHER) == Wait(0.0)
    assert (await single.outlook(MODEL)).code == 402


async def test_the_rest_survives_a_restart(funded: KeyPool, database: Database) -> None:
    await funded.refused(ONE, 402, None, MODEL)
    again = await open_key_pool(database, [ONE], CREATES)

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
    await execute(harness.database, update(attempt).values(create_ms=attempt.c.create_ms - 46_000))
    await execute(harness.database, update(generation_table).values(ready_ms=generation_table.c.ready_ms - 47_000))
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
    await execute(harness.database, update(attempt).values(create_ms=attempt.c.create_ms - 46_000))
    await execute(harness.database, update(generation_table).values(ready_ms=generation_table.c.ready_ms - 47_000))
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
