"""Read models in Redis under the seeds' names and types, which can be rebuilt from the rows at any time.

Beside a list or a ranking two keys are kept: its epoch, which every change of its source rows replaces, and the epoch
at which it was read from the rows. It is valid for a minute, and only while the two are equal. A key of another type
is not ours: it is overwritten.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from services.chassis.cache import CACHE_BUDGET_SECONDS

FRESH_SECONDS = 60  # how late another replica's change may show if its invalidation was lost
KEPT_SECONDS = 86_400  # Valkey evicts only what has an end
RETRY_AFTER_SECONDS = 1.0  # after a failure Redis is not asked for so long
MAX_PENDING = (
    10_000  # pending invalidations of a long outage; beyond them all read models are invalid for FRESH_SECONDS
)
EPOCH, READ_AT = ":epoch", ":read"
NEW = b"0"  # the epoch of a list that never changed
Commands = Callable[[Pipeline], Any]

logger = structlog.get_logger()


@dataclass(frozen=True)
class CachedMembers:
    """The members of a read model, None when it is missing or stale, and the epoch with which to write it.

    The epoch is empty while Redis is unavailable.
    """

    members: tuple[str, ...] | None
    epoch: bytes


AWAY = CachedMembers(None, b"")


class RedisModels:
    """Lists, rankings, sets and numbers by key, shared by the replicas. Without Redis every read is a miss.

    No method raises. `written` is the number of keys written until now; an epoch is what the read returned before the
    rows were read. An update that follows a commit is begun by `begin`: it ends even if the caller leaves.
    """

    def __init__(self, redis: Redis | None, clock: Callable[[], float]) -> None:
        self._redis, self._clock = redis, clock
        self._away_until = self._invalid_until = 0.0
        self._pending: set[str] = set()
        self._updates: dict[asyncio.Task[None], str] = {}
        self.written = 0

    def begin(self, user_id: str, update: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin an update for a user; without Redis there is none to make."""
        if self._redis is not None:
            task = asyncio.create_task(update())
            self._updates[task] = user_id
            task.add_done_callback(self._note_end)

    async def ended(self, user_id: str) -> None:
        """Wait until the updates that were begun for a user have ended."""
        if updates := [task for task, owner in self._updates.items() if owner == user_id]:
            await asyncio.wait(updates)

    async def finish(self) -> None:
        """Wait until all updates have ended."""
        while self._updates:
            await asyncio.wait(self._updates)

    def _note_end(self, task: "asyncio.Task[None]") -> None:
        del self._updates[task]
        if not task.cancelled() and (error := task.exception()):  # the rows could not be read
            logger.warning("read_model_not_updated", cause=type(error).__name__)

    async def list(self, key: str, count: int) -> CachedMembers:
        """The first members, if they are fresh."""
        return await self._look(key, lambda pipe: pipe.lrange(key, 0, count - 1))

    async def ranking(self, key: str, count: int) -> CachedMembers:
        """The members with the highest scores, if they are fresh."""
        return await self._look(key, lambda pipe: pipe.zrange(key, 0, count - 1, desc=True))

    async def put_list(self, key: str, members: Sequence[str], epoch: bytes) -> None:
        """Write all members atomically."""
        await self._put(key, epoch, (lambda pipe: pipe.rpush(key, *members)) if members else None)

    async def put_ranking(self, key: str, scores: dict[str, float], epoch: bytes) -> None:
        """Write all members atomically."""
        await self._put(key, epoch, (lambda pipe: pipe.zadd(key, scores)) if scores else None)

    async def put_set(self, key: str, members: Sequence[str]) -> None:
        """Write all members atomically."""
        await self._put(key, NEW, (lambda pipe: pipe.sadd(key, *members)) if members else None)

    async def put_number(self, key: str, number: int) -> None:
        """Write the number."""
        if await self._run(lambda pipe: pipe.set(key, number, ex=KEPT_SECONDS), key):
            self.written += 1

    async def score(self, key: str, member: str, score: float) -> None:
        """Update a member that exists: a new ranking with one member would hide all others."""
        await self._run(lambda pipe: pipe.zadd(key, {member: score}, xx=True), key)
        await self.forget(key)

    async def member(self, key: str, member: str, *, there: bool) -> bool:
        """Add or remove the member, if the set exists."""
        found = await self._run(lambda pipe: pipe.exists(key), key)
        if found and found[0]:
            await self._run(lambda pipe: pipe.sadd(key, member) if there else pipe.srem(key, member), key)
        return not found or bool(found[0])

    async def forget(self, *keys: str) -> None:
        """Begin a new epoch. Invalidations that fail now are repeated before the next read."""
        if self._redis is None:
            return
        self._pending.update(keys)
        if len(self._pending) > MAX_PENDING:
            self._pending.clear()
            self._invalid_until = self._clock() + FRESH_SECONDS
        words = {key + EPOCH: secrets.token_hex(8) for key in self._pending}

        def begin(pipe: Pipeline) -> None:
            for name, word in words.items():
                pipe.set(name, word, ex=KEPT_SECONDS)

        if await self._run(begin):
            self._pending.difference_update(name.removesuffix(EPOCH) for name in words)

    async def _look(self, key: str, read: Commands) -> CachedMembers:
        if self._pending:
            await self.forget()
        found = await self._run(lambda pipe: (pipe.mget(key + EPOCH, key + READ_AT), read(pipe)), key)
        if not found or key in self._pending or self._clock() < self._invalid_until:
            return AWAY
        (epoch, read_at), members = found
        fresh = read_at is not None and read_at == (epoch or NEW)
        return CachedMembers(tuple(member.decode() for member in members) if fresh and members else None, epoch or NEW)

    async def _put(self, key: str, epoch: bytes, write: Commands | None) -> None:
        """Replace a key; Redis has no empty lists, so without members it is only deleted."""

        def anew(pipe: Pipeline) -> None:
            pipe.delete(key)
            if write:
                write(pipe)
                pipe.expire(key, KEPT_SECONDS)
            pipe.set(key + READ_AT, epoch, ex=FRESH_SECONDS)

        if await self._run(anew, key) and write:
            self.written += 1

    async def _run(self, commands: Commands, *keys: str) -> Sequence[Any] | None:
        """Run commands atomically; None when Redis is unavailable. A key of another type is deleted."""
        if self._redis is None or self._clock() < self._away_until:
            return None
        try:
            return await self._executed(self._redis, commands)
        except ResponseError:  # WRONGTYPE: another program wrote the key
            await self._delete_foreign(self._redis, keys)
        except (RedisError, OSError) as error:
            self._pause(error)
        return None

    async def _executed(self, redis: Redis, commands: Commands) -> Sequence[Any]:
        async with redis.pipeline(transaction=True) as pipe:
            commands(pipe)
            found: Sequence[Any] = await pipe.execute()
        return found

    async def _delete_foreign(self, redis: Redis, keys: Sequence[str]) -> None:
        logger.warning("read_model_healed", keys=len(keys))
        try:
            await redis.delete(*keys)
        except (RedisError, OSError) as error:
            self._pause(error)

    def _pause(self, error: Exception) -> None:
        self._away_until = self._clock() + RETRY_AFTER_SECONDS
        logger.warning("read_models_away", cause=type(error).__name__)


@asynccontextmanager
async def open_models(redis_url: str, clock: Callable[[], float]) -> AsyncIterator[RedisModels]:
    """Open the read models at a Redis URL; without one every read is a miss."""
    if not redis_url:
        yield RedisModels(None, clock)
        return
    redis = Redis.from_url(redis_url, socket_timeout=CACHE_BUDGET_SECONDS, socket_connect_timeout=CACHE_BUDGET_SECONDS)
    models = RedisModels(redis, clock)
    try:
        yield models
    finally:
        await models.finish()
        await redis.aclose()
