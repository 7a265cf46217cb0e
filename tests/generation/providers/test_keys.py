"""The pool keeps every account within its limit, lets a refused one rest, and takes it back by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generation.ports import Key
from services.generation.providers.keys import CREATES, MAX_COOLING_SECONDS, WINDOW_SECONDS, KeyPool

ONE, ONE_B, TWO = Key.of("one", "secret-1"), Key.of("one", "secret-1b"), Key.of("two", "secret-2")


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def taken(pool: KeyPool, times: int) -> list[Key]:
    """So many creates, all of which must be free."""
    keys = [await pool.acquire() for _ in range(times)]
    assert all(isinstance(key, Key) for key in keys)
    return [key for key in keys if isinstance(key, Key)]


async def test_an_account_takes_eighteen_creates_in_ten_seconds(clock: Clock) -> None:
    pool = KeyPool([ONE], clock)
    await taken(pool, 18)

    assert (CREATES, WINDOW_SECONDS) == (18, 10.0)
    assert await pool.acquire() == 10.0


async def test_the_window_slides(clock: Clock) -> None:
    pool = KeyPool([ONE], clock)
    for _ in range(18):
        await taken(pool, 1)
        clock.now += 0.5
    clock.now += 0.9
    waiting = await pool.acquire()
    clock.now += 0.1 + 1e-6
    await taken(pool, 1)

    assert waiting == pytest.approx(0.1)
    assert await pool.acquire() == pytest.approx(0.5, abs=0.01)


@given(st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=120))
async def test_no_rhythm_gets_more_than_the_limit(steps: list[float]) -> None:
    clock = Clock()
    pool = KeyPool([ONE], clock)
    creates: list[float] = []
    for step in steps:
        clock.now += step
        if isinstance(await pool.acquire(), Key):
            creates.append(clock.now)

    assert all(sum(start <= at < start + 10 for at in creates) <= 18 for start in creates)


async def test_keys_of_one_account_share_its_limit(clock: Clock) -> None:
    pool = KeyPool([ONE, ONE_B], clock)
    await taken(pool, 18)

    assert isinstance(await pool.acquire(), float)


async def test_accounts_share_the_load(clock: Clock) -> None:
    pool = KeyPool([ONE, TWO], clock)
    keys = await taken(pool, 36)

    assert sum(key.account == "one" for key in keys) == 18
    assert isinstance(await pool.acquire(), float)


async def test_an_account_to_avoid_comes_last(clock: Clock) -> None:
    pool = KeyPool([ONE, TWO], clock)
    first = [await pool.acquire(avoid={"one"}) for _ in range(19)]

    assert [isinstance(key, Key) and key.account for key in first] == ["two"] * 18 + ["one"]


@pytest.mark.parametrize(
    ("code", "seconds"), [(402, 60), (429, 10), (430, 10), (455, 120), (505, 300), (550, 30), (999, 10)]
)
async def test_an_account_rests_for_a_time_that_fits_the_cause(clock: Clock, code: int, seconds: float) -> None:
    pool = KeyPool([ONE, ONE_B], clock)
    await pool.refused(ONE, code, None)

    assert await pool.acquire() == seconds
    clock.now += seconds
    assert isinstance(await pool.acquire(), Key)


@pytest.mark.parametrize(("code", "seconds"), [(401, 300), (433, 600)])
async def test_a_bad_key_rests_alone(clock: Clock, code: int, seconds: float) -> None:
    pool = KeyPool([ONE, ONE_B], clock)
    await pool.refused(ONE, code, None)

    assert await taken(pool, 3) == [ONE_B] * 3
    await pool.refused(ONE_B, code, None)
    assert await pool.acquire() == seconds
    clock.now += seconds
    assert isinstance(await pool.acquire(), Key)


async def test_one_account_resting_leaves_the_other_at_work(clock: Clock) -> None:
    pool = KeyPool([ONE, TWO], clock)
    await pool.refused(ONE, 402, None)

    assert await taken(pool, 5) == [TWO] * 5


async def test_retry_after_is_obeyed_within_reason(clock: Clock) -> None:
    pool = KeyPool([ONE], clock)
    await pool.refused(ONE, 429, 3.0)
    brief = await pool.acquire()
    await pool.refused(ONE, 429, 1e9)

    assert brief == 3.0
    assert await pool.acquire() == MAX_COOLING_SECONDS


async def test_a_resting_account_can_still_be_read(clock: Clock) -> None:
    pool = KeyPool([ONE, TWO], clock)
    await pool.refused(ONE, 402, None)

    assert await pool.reader("one") == ONE


async def test_a_refused_key_does_not_read_but_its_sibling_does(clock: Clock) -> None:
    pool = KeyPool([ONE, ONE_B], clock)
    await pool.refused(ONE, 401, None)

    assert await pool.reader("one") == ONE_B
    await pool.refused(ONE_B, 401, None)
    assert await pool.reader("one") is None


async def test_a_reader_is_of_the_account_it_is_asked_for(clock: Clock) -> None:
    """Another account's key sees nothing of the task, and would make it look lost."""
    pool = KeyPool([ONE, TWO], clock)

    assert await pool.reader("two") == TWO
    assert await pool.reader("gone") is None
    assert await pool.reader() == ONE


async def test_an_empty_pool_says_wait() -> None:
    pool = KeyPool([])

    assert await pool.acquire() == 10.0
    assert await pool.reader() is None


def test_a_key_never_shows_its_value() -> None:
    assert "secret" not in repr(ONE) + str(ONE) + f"{[ONE]}"
    assert ONE.print in repr(ONE)
