"""A whole stack on PostgreSQL under many clients over HTTP, some of whom are erased meanwhile: nobody is failed.

    python -m tests.e2e.community.erasure_storm --clients 32 --seconds 60

Gateway, community, share, storage and generation are processes of their own behind Envoy. It exits 1 unless there was
no 5xx and no deadlock, and every count is what its rows say. It prints its seed; --seed replays the dice, though not
the interleaving. tests/community/erasure_load.py is the same within one process, which finds more collisions a minute.

Runs of 2026-11-30, 32 clients, 60 s. Seed 11, on two very busy cores: 795 answers, no 5xx, drift 0 and one deadlock:
two erasures of a person who had come back between them. Its cause is mended
(tests/community/stores/test_user_erasure.py, `..._wait_in_no_ring`). Seed 12, on the mended code, while
`make check` ran beside it: 2,091 answers (200: 1498, 401: 118, 402: 90, 403: 67, 404: 279, 429: 39), no 5xx, no
deadlock, drift 0.
"""

import argparse
import asyncio
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from grpc import aio
from kawaii.community.v1 import admin_pb2 as communityadminpb
from kawaii.community.v1 import admin_pb2_grpc as communityadminrpc
from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1 import admin_pb2_grpc as shareadminrpc
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from services.chassis.addresses import ListenPort
from tests.e2e.community.callers import SECRET, token
from tests.e2e.stack import ROOT, Stack, running
from tests.storage.samples import picture
from tests.support.postgres import Postgres, postgres

PEOPLE = 12  # few, so that they meet
SERVER_ERROR, WRONG = 500, 400
PATIENCE_SECONDS = 60.0  # of a client: a request that is slow is not one that failed
SETTLE_SECONDS = 5.0  # what was begun ends, and sweepers have their turn


class Storm:
    """Clients that do by dice what people do, as anybody; their addresses are one, which is why buckets are off."""

    def __init__(self, http: httpx.AsyncClient, seed: int) -> None:
        self._http, self._seed = http, seed
        self._shown: list[str] = []
        self._shares: list[tuple[str, str]] = []
        self.answers: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()

    async def client(self, number: int, seconds: float) -> None:
        """Act for so long."""
        dice, end = random.Random(self._seed * 1000 + number), time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                await self._act(dice, f"auth0|{dice.randrange(PEOPLE)}")
            except httpx.HTTPError as error:  # a connection that broke is worse than a 5xx
                self.failures[repr(error)[:200]] += 1

    async def _act(self, dice: random.Random, person: str) -> None:
        shown = dice.choice(self._shown) if self._shown else ""
        match dice.choices(range(9), (8, 4, 1, 2, 1, 2, 2, 3, 4))[0]:
            case 0 if shown:
                what, method = dice.choice(("like", "favorite")), dice.choice(("POST", "POST", "DELETE"))
                await self._ask(person, method, f"/api/artworks/{shown}/{what}")
            case 1:
                await self._publish(person)
            case 2:
                await self._ask(person, "DELETE", "/api/users/me")
            case 3 if shown:
                await self._ask(person, "DELETE", f"/api/artworks/{shown}")
            case 4 if shown:
                await self._ask(person, "POST", f"/api/artworks/{shown}/report", json={"reason": "rude"})
            case 5:
                await self._ask(person, "POST", "/api/checkin/checkin")
            case 6:
                await self._ask(person, "POST", "/api/artworks/generate", json={"prompt": "a storm in a teacup"})
            case 7:
                await self._share(dice)
            case _:
                path = dice.choice(("/api/feed", "/api/hotness/trending/7d", "/api/users/me", "/api/share/list"))
                await self._ask(person, "GET", path)

    async def _publish(self, person: str) -> None:
        files = {"file": ("a.png", picture(seed=secrets.token_hex(8)), "image/png")}
        stored = await self._ask(person, "POST", "/api/artworks/upload", files=files)
        if uri := stored.get("originalUrl"):
            fields = {"title": "One", "imageUrl": uri}
            saved = await self._ask(person, "POST", "/api/artworks/publish", json=fields)
            if artwork := saved.get("id"):
                self._shown.append(artwork)
                del self._shown[:-40]

    async def _share(self, dice: random.Random) -> None:
        if self._shares and dice.random() < 0.5:
            share, proof = self._shares.pop(dice.randrange(len(self._shares)))
            method = dice.choice(("PUT", "DELETE"))
            await self._ask("", method, f"/api/share/{share}", json={"token": proof, "action": "publish"})
            return
        fields = {"generatedUrl": f"https://elsewhere.example/{secrets.token_hex(6)}.png", "prompt": "of a storm"}
        answer = await self._send("", "POST", "/api/share", json=fields)
        if answer.get("shareId"):
            self._shares.append((answer["shareId"], answer.get("publishToken", "")))

    async def _ask(self, person: str, method: str, path: str, **more: Any) -> dict[str, Any]:
        found = (await self._send(person, method, path, **more)).get("data")
        return found if isinstance(found, dict) else {}

    async def _send(self, person: str, method: str, path: str, **more: Any) -> dict[str, Any]:
        signed = {"Authorization": f"Bearer {token(person, iat=int(time.time()))}"} if person else {}
        answer = await self._http.request(method, path, headers=signed, **more)
        self.answers[answer.status_code] += 1
        if answer.status_code == WRONG:  # a storm of wrong requests would prove nothing
            self.failures[f"{method} {path.split('/')[2]} {answer.text[:160]}"] += 1
        if answer.status_code >= SERVER_ERROR:
            self.failures[f"{answer.status_code} {method} {path.split('/')[2]} {answer.text[:160]}"] += 1
        body = answer.json()
        return body if isinstance(body, dict) else {}


async def deadlocks(url: str) -> int:
    """How many the database has seen."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT sum(deadlocks) FROM pg_stat_database"))
    finally:
        await connection.close()


async def drift(stack: Stack) -> int:
    """By how much the counts of likes, favourites and shares are off."""
    async with (
        aio.insecure_channel(f"127.0.0.1:{stack.base + ListenPort.COMMUNITY}") as community,
        aio.insecure_channel(f"127.0.0.1:{stack.base + ListenPort.SHARE}") as share,
    ):
        admin = communityadminrpc.CommunityAdminServiceStub(community)
        off = (await admin.ReconcileCounters(communityadminpb.ReconcileCountersRequest(dry_run=True))).drift
        total = (await sharerpc.ShareServiceStub(share).GetShareStats(sharepb.GetShareStatsRequest())).total_count
        records, page = shareadminrpc.ShareAdminServiceStub(share), ""
        while True:
            listed = await records.ListShareRecords(shareadminpb.ListShareRecordsRequest(page_token=page))
            total, page = total - len(listed.share_records), listed.next_page_token
            if not page:
                return int(off + abs(total))


def recorded(server: Postgres) -> Path:
    """Let the server write its log into a file, which names the statements of each deadlock; the file."""
    for setting in ("logging_collector = on", "log_filename = 'server.log'"):
        url = server.create_database()
        subprocess.run([server.binaries / "psql", "-q", "-c", f"ALTER SYSTEM SET {setting}", url], check=True)
    server.stop()
    server.start()
    return server.folder / "data" / "log" / "server.log"


async def storm(stack: Stack, url: str, clients: int, seconds: float, seed: int) -> int:
    """Storm a stack; 0 when nobody was failed, nothing waited in a ring, and nothing drifted."""
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE_SECONDS, limits=limits) as http:
        made = Storm(http, seed)
        await asyncio.gather(*(made.client(number, seconds) for number in range(clients)))
    await asyncio.sleep(SETTLE_SECONDS)
    rings, off = await deadlocks(url), await drift(stack)
    summary = (
        f"answers {dict(sorted(made.answers.items()))}, failures {dict(made.failures)}, deadlocks {rings}, drift {off}"
    )
    print(summary)  # noqa: T201
    return int(bool(made.failures or rings or off))


def main() -> int:
    """Run it on a stack of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)  # noqa: T201
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        log = recorded(server)
        data, url = Path(folder) / "data", server.create_database()
        environment = os.environ | {"DATABASE_URL": url, "DATA_DIR": str(data)}
        subprocess.run([sys.executable, "-m", "deploy.cli.main", "migrate"], cwd=ROOT, env=environment, check=True)
        settings = {"DATABASE_URL": url, "AUTH_HS256_SECRET": SECRET, "SANDBOX_GENERATION_SECONDS": "1"}
        settings |= {"CREDITS_ENABLED": "1", "CREDITS_INITIAL": "100"}
        with running(data, **settings) as stack:
            failed = asyncio.run(storm(stack, url, given.clients, given.seconds, given.seed))
        rings = log.read_text(encoding="utf-8").partition("deadlock detected")[2] if log.exists() else ""
        if rings:
            print(rings[:4000])  # noqa: T201
        return failed


if __name__ == "__main__":
    sys.exit(main())
