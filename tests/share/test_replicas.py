"""Two gateways before the share service and a real Valkey: what one changes, both show; what Valkey loses, nobody sees.

The gateways keep answers for an hour, so that only what they hear, and not the time, can make them forget.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from grpc import aio
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from gateway.app import make_app
from gateway.clients.stubs import Clients
from gateway.response_cache import ByteCache
from gateway.settings import GatewaySettings
from services.chassis.cache import open_cache
from services.chassis.channels import plain_channel
from services.chassis.database import Database
from services.chassis.idempotency import IdempotencyKeys
from services.chassis.invalidation import open_invalidations
from services.chassis.server import Mount
from services.share.__main__ import CHANNEL, now_ms
from services.share.core.cached import CachedShares, CacheLifetimes
from services.share.core.shares import Shares
from services.share.model import Policy
from services.share.servicer import ShareServicer
from services.share.stores.shares import SqlShares
from services.share.stores.tables import request_answer
from tests.share.conftest import FILES
from tests.support.servers import serving
from tests.support.valkey import Valkey

HOUR, MANY_BYTES = 3600, 10**8
FRESHNESS = CacheLifetimes(record=HOUR, list=HOUR, latest=HOUR, stats=HOUR)
DEADLINE_SECONDS = 10.0
LATEST, LIST = "/api/share/latest", "/api/share/list"


class OnlyShares:
    """The clients of a gateway of which only the share routes are asked."""

    def __init__(self, channel: aio.Channel) -> None:
        self.share = sharerpc.ShareServiceStub(channel)


class Replica:
    """A share service and a gateway before it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.notices: asyncio.Queue[str] = asyncio.Queue()

    async def hears(self, notice: str) -> None:
        """Wait until the gateway has heard something and forgotten what it kept."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.notices.get() != notice:
                pass

    async def get(self, path: str) -> Any:
        response = await self.http.get(path)
        return response.json()["data"] if response.status_code == httpx.codes.OK else response.status_code

    async def share(self, label: object) -> tuple[str, str]:
        """Share a picture; the share's path and token."""
        body = {"generatedUrl": f"https://pictures.example/{label}"}
        made = (await self.http.post("/api/share", json=body)).raise_for_status().json()
        return f"/api/share/{made['shareId']}", made["publishToken"]


@asynccontextmanager
async def replica(database: Database, redis_url: str) -> AsyncIterator[Replica]:
    async with AsyncExitStack() as stack:
        cache = await stack.enter_async_context(open_cache(redis_url))
        invalidations = await stack.enter_async_context(open_invalidations(redis_url, CHANNEL))
        store = CachedShares(database, SqlShares(), cache, FRESHNESS, clock=now_ms, announce=invalidations.announce)
        servicer = ShareServicer(
            Shares(store, Policy.ALL, own_key=FILES.key, clock=now_ms), FILES, IdempotencyKeys(database, request_answer)
        )
        mount = Mount(sharerpc.add_ShareServiceServicer_to_server, servicer, sharepb.DESCRIPTOR)
        channel = await stack.enter_async_context(plain_channel(await stack.enter_async_context(serving(mount))))
        kept = ByteCache(HOUR, MANY_BYTES)
        app = make_app(GatewaySettings(), cast("Clients", OnlyShares(channel)), kept=kept)
        transport = httpx.ASGITransport(app)
        made = Replica(await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://site")))

        def heard(notice: str) -> None:
            store.invalidate(notice)
            kept.clear()
            made.notices.put_nowait(notice)

        listener = asyncio.create_task(invalidations.listen(heard))
        stack.callback(listener.cancel)
        await made.hears("")
        yield made


@pytest.fixture
async def replicas(database: Database, valkey: Valkey) -> AsyncIterator[tuple[Replica, Replica]]:
    async with replica(database, valkey.url) as first, replica(database, valkey.url) as second:
        yield first, second


async def test_a_deletion_and_a_publication_show_at_every_replica_as_soon_as_it_hears_of_them(
    replicas: tuple[Replica, Replica],
) -> None:
    here, there = replicas
    path, token = await here.share("a")
    await there.hears(f"created {path.rpartition('/')[2]}")
    assert (await there.get(path))["published"] is False
    assert len((await there.get(LATEST))["items"]) == len((await there.get(LIST))["items"]) == 1

    await here.http.put(path, json={"action": "publish", "token": token})
    await there.hears(path.rpartition("/")[2])
    assert (await there.get(path))["published"] is True

    assert (await here.http.delete(path, headers={"X-Share-Token": token})).status_code == 200
    assert await here.get(path) == 404
    await there.hears(path.rpartition("/")[2])
    assert await there.get(path) == 404
    assert (await there.get(LATEST))["items"] == (await there.get(LIST))["items"] == []


async def test_a_new_share_shows_first_at_every_replica(replicas: tuple[Replica, Replica]) -> None:
    here, there = replicas
    for number in range(3):
        path, _ = await here.share(number)
        await there.hears(f"created {path.rpartition('/')[2]}")
        for each in replicas:
            for listing in (LATEST, LIST):
                items = (await each.get(listing))["items"]
                assert (len(items), f"/api/share/{items[0]['id']}") == (number + 1, path)


async def test_flushing_valkey_at_any_moment_changes_no_answer(
    replicas: tuple[Replica, Replica], valkey: Valkey
) -> None:
    """One writer, who always sees what was written last, while Valkey is flushed all the time."""
    here, _ = replicas
    chance, shown, flushing = random.Random(7), list[list[str]](), True

    async def flush() -> None:
        while flushing:
            await asyncio.to_thread(valkey.redis.flushall)

    flusher = asyncio.create_task(flush())
    for number in range(60):
        if shown and chance.random() < 0.4:
            path, token = shown.pop(chance.randrange(len(shown)))
            assert (await here.http.delete(path, headers={"X-Share-Token": token})).status_code == 200
            assert await here.get(path) == 404
        else:
            shown.insert(0, list(await here.share(number)))
        await check(here, [path for path, _ in shown])
    flushing = False
    await flusher


async def check(replica: Replica, paths: list[str]) -> None:
    """Every read tells the same: these shares, in this order."""
    found = await replica.get(f"{LIST}?limit=100")
    assert [f"/api/share/{item['id']}" for item in found["items"]] == paths
    assert found["total"] == len(paths)
    assert sorted(f"/api/share/{item['id']}" for item in (await replica.get(LATEST))["items"]) == sorted(paths[:12])
    for path in paths:
        assert f"/api/share/{(await replica.get(path))['id']}" == path
