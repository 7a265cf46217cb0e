"""Published keys: read when needed, rotated without a restart, kept through an outage, never flooded."""

import asyncio

import pytest

from gateway.identity.keys import FRESH_SECONDS, PATIENCE_SECONDS, STALE_SECONDS, PublishedKeys
from gateway.identity.publisher import Publisher
from services.chassis.errors import Unauthenticated, Unavailable
from tests.gateway.identity.issuer import SignIn, publishing


class Time:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service() -> SignIn:
    service = SignIn()
    service.rotate("one")
    return service


async def test_reads_once_for_many(service: SignIn) -> None:
    async with publishing(service) as url:
        keys = PublishedKeys(Publisher(url).read, Time())
        await asyncio.gather(*(keys.key("one") for _ in range(20)))

    assert service.reads == 1


async def test_finds_a_rotated_key_without_a_restart(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = PublishedKeys(Publisher(url).read, time)
        await keys.key("one")
        service.rotate("two")
        time.now += PATIENCE_SECONDS

        assert await keys.key("two")


async def test_made_up_ids_do_not_flood_the_publisher(service: SignIn) -> None:
    async with publishing(service) as url:
        keys = PublishedKeys(Publisher(url).read, Time())
        for number in range(50):
            with pytest.raises(Unauthenticated):
                await keys.key(f"made-up-{number}")

    assert service.reads == 1


async def test_a_withdrawn_key_is_forgotten(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = PublishedKeys(Publisher(url).read, time)
        await keys.key("one")
        del service.keys["one"]
        service.rotate("two")
        time.now += FRESH_SECONDS + 1

        with pytest.raises(Unauthenticated):
            await keys.key("one")


async def test_known_keys_outlive_an_outage_for_a_day(service: SignIn) -> None:
    time = Time()
    async with publishing(service) as url:
        keys = PublishedKeys(Publisher(url).read, time)
        await keys.key("one")
        service.down = True
        time.now += STALE_SECONDS - 1

        assert await keys.key("one")

        time.now += 2 + PATIENCE_SECONDS
        with pytest.raises(Unavailable) as refused:
            await keys.key("one")

    assert refused.value.reason == "AUTH_UNAVAILABLE"


async def test_an_outage_at_the_start_is_no_bad_token(service: SignIn) -> None:
    service.down = True
    async with publishing(service) as url:
        keys = PublishedKeys(Publisher(url).read, Time())
        for _ in range(2):
            with pytest.raises(Unavailable):
                await keys.key("one")

    assert service.reads == 1
