"""Two gateways before two share services: what a client may do it may do once, whichever gateway takes the request."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from services.chassis.migrations import migrate
from services.share.settings import ShareSettings
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.replicas import Replica, replicas
from tests.support.valkey import Valkey

pytestmark = pytest.mark.timeout(300)  # several processes start, also on a busy machine

BURST = 6
LIMITS = {"RATE_LIMIT_SHARES_PER_MINUTE": "1", "RATE_LIMIT_SHARES_BURST": str(BURST)}
SLACK = 4  # tokens that come back while a busy machine takes its time


@pytest.fixture
async def shares(postgres_server: Postgres, valkey: Valkey, tmp_path: Path) -> AsyncIterator[str]:
    """The target of two share services."""
    url = postgres_server.create_database()
    settings = ShareSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    await asyncio.to_thread(migrate, "share", settings)
    async with replicas("share", DATABASE_URL=url, REDIS_URL=valkey.url) as two:
        yield ",".join(f"127.0.0.1:{each.port}" for each in two)


@pytest.fixture
async def two(shares: str, valkey: Valkey) -> AsyncIterator[list[Replica]]:
    async with replicas("gateway", SHARE_TARGET=shares, REDIS_URL=valkey.url, **LIMITS) as started:
        yield started


async def shared(
    client: httpx.AsyncClient, gateway: Replica, label: object, address: str = "192.0.2.1"
) -> httpx.Response:
    body = {"generatedUrl": f"https://pictures.example/{label}"}
    return await client.post(
        f"http://127.0.0.1:{gateway.port}/api/share", json=body, headers={"x-kawaii-client": address}
    )


def left(answer: httpx.Response) -> int:
    """How many tokens an answer says are left."""
    return int(answer.headers["ratelimit"].partition(";r=")[2].partition(";")[0])


async def taken(client: httpx.AsyncClient, two: list[Replica], label: str) -> int:
    """How many of many requests, sent to the two in turn, are not refused."""
    answers = [await shared(client, two[number % 2], f"{label}{number}") for number in range(4 * BURST)]
    assert {answer.status_code for answer in answers} <= {200, 201, 429}
    return sum(answer.is_success for answer in answers)


async def test_a_client_has_one_bucket_for_both_and_at_most_two_without_redis(
    two: list[Replica], valkey: Valkey
) -> None:
    clients = count()

    async with httpx.AsyncClient(trust_env=False) as client:

        async def counted_together() -> bool:
            """Whether the second gateway counts on from the first; on a busy machine Redis may answer too late."""
            address = f"198.51.100.{next(clients)}"
            answers = [await shared(client, each, address, address) for each in two]
            return [left(answer) for answer in answers] == [BURST - 1, BURST - 2]

        await eventually(counted_together)
        assert BURST <= await taken(client, two, "a") <= 2 * BURST + SLACK
        valkey.kill()
        assert 0 < await taken(client, two, "b") <= 2 * BURST + SLACK


async def test_a_share_that_one_gateway_made_and_deleted_is_shown_and_gone_at_the_other(two: list[Replica]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await shared(client, two[0], "x")
        assert answer.is_success, answer.text
        made = answer.json()
        here, there = (f"http://127.0.0.1:{each.port}/api/share/{made['shareId']}" for each in two)
        assert (await client.get(there)).status_code == 200
        await client.delete(here, headers={"X-Share-Token": made["publishToken"]})
        gone = await client.get(here)
        async with asyncio.timeout(30):
            while (await client.get(there)).status_code != 404:  # noqa: ASYNC110 - the other hears of it
                await asyncio.sleep(0.02)

    assert gone.status_code == 404
