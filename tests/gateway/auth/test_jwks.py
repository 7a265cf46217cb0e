"""Published keys: read when needed, rotated without a restart, kept through an outage, never flooded."""

import asyncio

import pytest

from gateway.auth.jwks import (
    ABSENT_SECONDS,
    FIRST_PAUSE_SECONDS,
    FRESH_SECONDS,
    LONGEST_PAUSE_SECONDS,
    STALE_SECONDS,
    UNKNOWN_SECONDS,
    JwksClient,
    JwksKeys,
)
from services.chassis.errors import Unauthenticated, Unavailable
from tests.gateway.auth.issuer import SignIn, publishing


class Time:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.now += seconds


@pytest.fixture
def service() -> SignIn:
    service = SignIn()
    service.rotate("one")
    return service


async def test_reads_once_for_many(service: SignIn) -> None:
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, Time())
        await asyncio.gather(*(keys.key("one") for _ in range(20)))

    assert service.reads == 1


async def test_finds_a_rotated_key_without_a_restart(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        await keys.key("one")
        service.rotate("two")
        time.now += 0.1

        assert await keys.key("two")


async def test_made_up_ids_do_not_flood_the_publisher(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time, time.sleep)
        for number in range(50):
            time.now += 0.01
            with pytest.raises(Unauthenticated):
                await keys.key(f"made-up-{number}")

    assert service.reads - 1 <= time.now / UNKNOWN_SECONDS


async def test_a_key_published_a_moment_after_a_read_is_found(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time, time.sleep)
        with pytest.raises(Unauthenticated):
            await keys.key("made-up")
        service.rotate("two")
        time.now += 0.1

        assert await keys.key("two")

    assert time.now == UNKNOWN_SECONDS


async def test_a_key_that_is_not_there_is_asked_for_once_in_a_while(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        for _ in range(10):
            with pytest.raises(Unauthenticated):
                await keys.key("retired")
            time.now += (ABSENT_SECONDS - 1) / 10

    assert service.reads == 1


@pytest.mark.parametrize("harm", ["down", "empty"])
async def test_one_failed_read_at_the_start_is_over_in_a_moment(service: SignIn, harm: str) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        setattr(service, harm, True)
        with pytest.raises(Unavailable) as refused:
            await keys.key("one")
        setattr(service, harm, False)
        time.now += refused.value.retry_after or 0

        assert await keys.key("one")

    assert refused.value.retry_after == FIRST_PAUSE_SECONDS


async def test_an_empty_set_drops_no_key(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        await keys.key("one")
        service.empty = True
        time.now += FRESH_SECONDS + 1

        assert await keys.key("one")

    assert service.reads == 2


async def test_whether_an_unknown_key_exists_is_not_known_in_an_outage(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        await keys.key("one")
        service.down = True
        time.now += 1.0
        with pytest.raises(Unavailable):
            await keys.key("two")


async def test_a_publisher_that_stays_away_is_asked_ever_more_rarely(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        await keys.key("one")
        service.down = True
        time.now += FRESH_SECONDS + 1
        for _ in range(600):
            await keys.key("one")
            time.now += 1.0

    assert 600 / LONGEST_PAUSE_SECONDS < service.reads < 40


async def test_a_withdrawn_key_is_forgotten(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        await keys.key("one")
        del service.keys["one"]
        service.rotate("two")
        time.now += FRESH_SECONDS + 1

        with pytest.raises(Unauthenticated):
            await keys.key("one")


async def test_known_keys_outlive_an_outage_for_a_day(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, time)
        await keys.key("one")
        service.down = True
        time.now += STALE_SECONDS - 1

        assert await keys.key("one")

        time.now += 2 + LONGEST_PAUSE_SECONDS
        with pytest.raises(Unavailable) as refused:
            await keys.key("one")

    assert refused.value.reason == "AUTH_UNAVAILABLE"


async def test_an_outage_at_the_start_is_no_bad_token(service: SignIn) -> None:
    service.down = True
    async with publishing(service) as url:
        keys = JwksKeys(JwksClient(url).read, Time())
        for _ in range(2):
            with pytest.raises(Unavailable):
                await keys.key("one")

    assert service.reads == 1
