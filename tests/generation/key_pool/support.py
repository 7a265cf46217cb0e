"""Keys to test with, a clock of the pool that tests move, and the whole generation core against the sandbox."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from sqlalchemy import update

from catalogue import MODELS
from services.chassis.database import Database
from services.chassis.notifier import Notifier
from services.chassis.public_files import PublicFiles
from services.chassis.supervisor import supervised
from services.generation.core.admission import AdmissionControl
from services.generation.core.generations import Generations
from services.generation.core.validation import UrlPolicy
from services.generation.key_pool.pool import Key, KeyPool
from services.generation.model import Draft
from services.generation.providers import make_providers
from services.generation.providers.kie import open_kie
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from services.generation.stores.key_pool import open_key_pool
from services.generation.stores.leases import make_parking
from services.generation.stores.tables import (
    attempt,
    create_mark,
    model_rest,
    provider_account,
    provider_key,
    unpaid_model,
)
from services.generation.timing import Concurrency, Timing
from services.generation.workers.loops import Workers, make_loops
from tests.generation.harness import FakeStorage
from tests.support.awaited import Awaited, awaited
from tests.support.sql import execute

CREATES = 18
WINDOW_MS = 10_000
MAX_REST_MS = 800_000  # longer than any test lets an account and a model rest, shorter than forgiveness
MODEL = "gpt4o-image"
ONE, ONE_B, TWO = Key.of("one", "secret-1"), Key.of("one", "secret-1b"), Key.of("two", "secret-2")
numbers = count(1)
CONCURRENCY = Concurrency(submits=20, polls=20, copies=8)


FILES = PublicFiles("http://localhost:8080/files")


@dataclass
class PoolClock:
    """Lets time pass for the pool, without waiting for it."""

    database: Database

    async def window_passes(self) -> None:
        """Every create so far and every answer is a window old."""
        await self._set(update(create_mark).values(at_ms=create_mark.c.at_ms - WINDOW_MS))
        await self._set(
            update(attempt).values(answer_ms=attempt.c.answer_ms - WINDOW_MS).where(attempt.c.answer_ms > 0)
        )

    async def rests_end(self) -> None:
        """Every rest is over, by the clock."""
        for table in (provider_account, provider_key, model_rest):
            await self._set(update(table).values(rest_until_ms=1))
        over = unpaid_model.c.rest_until_ms - MAX_REST_MS
        await self._set(update(unpaid_model).values(rest_until_ms=over))

    async def balances_age(self) -> None:
        """Nobody asked for a balance for long."""
        await self._set(update(provider_account).values(asked_ms=0))

    async def _set(self, statement: Any) -> None:
        await execute(self.database, statement)


async def taken(pool: KeyPool, times: int, model: str = MODEL) -> list[Key]:
    """So many creates, all of which must be free."""
    keys = [await pool.acquire(f"att_{next(numbers)}", model) for _ in range(times)]
    assert all(isinstance(key, Key) for key in keys)
    return [key for key in keys if isinstance(key, Key)]


@dataclass(frozen=True)
class RunningCore:
    """A replica at work."""

    generations: Generations
    store: Awaited
    pool: KeyPool


@asynccontextmanager
async def working(
    database: Database,
    notifier: Notifier,
    url: str,
    keys: Sequence[Key],
    timing: Timing,
    window_ms: int = WINDOW_MS,
) -> AsyncIterator[RunningCore]:
    """The real core with all its loops, against the stand-in at a URL; only storage is a double."""
    async with open_kie(url) as kie:
        store, inbox = SqlGenerationStore(), SqlInbox()
        pool = await open_key_pool(database, keys, CREATES, window_ms)
        workers = Workers(
            database,
            store,
            inbox,
            notifier,
            pool,
            kie,
            make_providers(kie),
            MODELS,
            FakeStorage(),
            nowhere,
            timing,
            make_parking(database),
        )
        async with supervised(make_loops(workers, CONCURRENCY)):
            admission = AdmissionControl(database, store, notifier, pool, timing)
            url_policy = UrlPolicy(FILES, FakeStorage())
            generations = Generations(database, store, notifier, admission, MODELS, url_policy=url_policy)
            yield RunningCore(generations, awaited(database, store), pool)


def nowhere(_family: str, token: str) -> str:
    """A callback address at which nobody listens."""
    return f"http://127.0.0.1:9/{token}"


def draft(prompt: str) -> Draft:
    """An order."""
    return Draft(MODEL, prompt)


async def turn(url: str, account: str, **change: Any) -> None:
    """Change an account of the stand-in."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        (await http.post(f"/sandbox/accounts/{account}", json=change)).raise_for_status()


async def seen(url: str, what: str, **query: Any) -> Any:
    """What the stand-in remembers."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return (await http.get(f"/sandbox/{what}", params=query)).raise_for_status().json()
