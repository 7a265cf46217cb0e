"""No account has more creates in flight or in a window than its bucket, however many replicas ask, on any engine."""

import asyncio
from collections import Counter

import pytest

from services.chassis.database import Database, open_database
from services.chassis.settings import CommonSettings
from services.generation.key_pool.pool import Key, KeyPool, Wait
from services.generation.model import Attempt, State
from services.generation.stores.key_pool import open_key_pool
from tests.generation.builders import ordered
from tests.generation.key_pool.support import CREATES, MODEL, ONE, ONE_B, TWO, PoolClock, taken
from tests.support.awaited import Awaited


async def test_an_account_takes_its_bucket_and_then_says_when(single: KeyPool) -> None:
    await taken(single, CREATES)
    wait = await single.acquire("att_next", MODEL)

    assert isinstance(wait, Wait)
    assert wait.code == 0
    assert 0 < wait.seconds <= 10


async def test_the_bucket_is_full_again_a_window_later(single: KeyPool, pool_clock: PoolClock) -> None:
    await taken(single, CREATES)
    await pool_clock.window_passes()
    keys = [await single.acquire(f"att_{number}", MODEL) for number in range(CREATES + 1)]

    assert [isinstance(key, Key) for key in keys] == [True] * CREATES + [False]


async def test_a_create_counts_while_it_is_in_flight_and_a_window_after_its_answer(
    single: KeyPool, pool_clock: PoolClock, store: Awaited
) -> None:
    """The provider counts at a moment between request and answer, which may be long after a key was given."""
    attempts = []
    for _ in range(CREATES):
        await ordered(store)
        (generation,) = await store.claim([State.READY], 1, 60)
        key = await single.acquire(f"att_of_{generation.id}", MODEL)
        assert isinstance(key, Key)
        attempts.append(Attempt(f"att_of_{generation.id}", generation.id, key.account, key.print, "digest"))
        await store.move(await store.dial(generation, attempts[-1]), State.SENDING)
    await pool_clock.window_passes()
    in_flight = await single.acquire("att_a", MODEL)
    for attempt in attempts:
        await store.accept(attempt.id, f"task-{attempt.id}", 3)
    answered = await single.acquire("att_b", MODEL)
    await pool_clock.window_passes()
    later = await single.outlook(MODEL)

    assert isinstance(in_flight, Wait)
    assert isinstance(answered, Wait)  # before anything else is noted of the attempts
    assert later.seconds == 0


async def test_a_create_counts_from_its_dialling_however_long_ago_its_key_was_given(
    single: KeyPool, pool_clock: PoolClock, store: Awaited
) -> None:
    """A process that hangs between the two must not free a create for another."""
    await ordered(store)
    (generation,) = await store.claim([State.READY], 1, 60)
    key = await single.acquire("att_slow", MODEL)
    assert isinstance(key, Key)
    await pool_clock.window_passes()
    await taken(single, 1)  # forgets marks that count no more
    await pool_clock.window_passes()
    dialling = await store.dial(generation, Attempt("att_slow", generation.id, key.account, key.print, "digest"))
    await store.move(dialling, State.READY)
    await taken(single, CREATES - 1)

    assert isinstance(await single.acquire("att_next", MODEL), Wait)


async def test_creates_in_flight_are_shown(single: KeyPool, store: Awaited) -> None:
    await ordered(store)
    (generation,) = await store.claim([State.READY], 1, 60)
    await single.acquire("att_1", MODEL)
    before = (await single.listing()).accounts[0]
    await store.dial(generation, Attempt("att_1", generation.id, "one", ONE.print, "digest"))
    during = (await single.listing()).accounts[0]

    assert (before.recent, before.in_flight) == (1, 0)
    assert (during.recent, during.in_flight) == (1, 1)


async def test_keys_of_one_account_share_its_bucket(database: Database) -> None:
    pool = await open_key_pool(database, [ONE, ONE_B], CREATES)
    await taken(pool, CREATES)

    assert isinstance(await pool.acquire("att_next", MODEL), Wait)


async def test_the_account_with_the_least_creates_goes_first(pool: KeyPool) -> None:
    keys = await taken(pool, CREATES)

    assert Counter(key.account for key in keys) == {"one": CREATES // 2, "two": CREATES // 2}
    assert Counter(key.account for key in await taken(pool, CREATES - 1)) == {"one": 9, "two": 8}


async def test_fifty_who_ask_two_replicas_at_once_get_no_more_than_the_bucket(
    engine: CommonSettings, database: Database
) -> None:
    async with open_database(engine, "generation") as other:
        replicas = [await open_key_pool(opened, [ONE, TWO], CREATES) for opened in (database, other)]
        answers = await asyncio.gather(*(replicas[n % 2].acquire(f"att_{n}", MODEL) for n in range(50)))

    given = Counter(key.account for key in answers if isinstance(key, Key))
    assert given == {"one": CREATES, "two": CREATES}


@pytest.mark.parametrize("creates", [1, 40])
async def test_the_bucket_is_a_setting(database: Database, creates: int) -> None:
    pool = await open_key_pool(database, [ONE], creates)
    await taken(pool, creates)

    assert isinstance(await pool.acquire("att_next", MODEL), Wait)


async def test_creates_are_counted_over_a_restart(single: KeyPool, database: Database) -> None:
    await taken(single, CREATES)
    restarted = await open_key_pool(database, [ONE], CREATES)

    assert isinstance(await restarted.acquire("att_next", MODEL), Wait)


async def test_asking_for_the_outlook_takes_nothing(single: KeyPool) -> None:
    for _ in range(CREATES):
        assert await single.outlook(MODEL) == Wait(0.0)
    await taken(single, CREATES)

    assert (await single.outlook(MODEL)).seconds > 0
