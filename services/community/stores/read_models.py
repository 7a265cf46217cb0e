"""Read models in Redis under the seeds' names and types: what can be made again from the rows at any time.

A list or a ranking is believed for a minute, while its companion key says that it is fresh; forgetting takes the
companion away and leaves what others may read. A key of another type is a stranger's: it is written over.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from services.chassis.cache import CACHE_BUDGET_SECONDS

FRESH_SECONDS = 60  # how late another replica's change may show if the word of it was lost
KEPT_SECONDS = 86_400  # Valkey evicts only what has an end
RETRY_AFTER_SECONDS = 1.0  # after a failure Redis is left alone for so long
MARK = ":fresh"

logger = structlog.get_logger()


class NoModels:
    """No Redis: every look is a miss, and every write is forgotten."""

    async def list(self, _key: str, _count: int) -> tuple[str, ...] | None:
        """A miss."""
        return None

    async def put_list(self, key: str, members: Sequence[str]) -> None:
        """Nothing."""

    async def ranking(self, _key: str, _count: int) -> tuple[str, ...] | None:
        """A miss."""
        return None

    async def put_ranking(self, key: str, scores: dict[str, float]) -> None:
        """Nothing."""

    async def move(self, key: str, member: str, score: float) -> None:
        """Nothing."""

    async def put_set(self, key: str, members: Sequence[str]) -> None:
        """Nothing."""

    async def member(self, key: str, member: str, *, there: bool) -> None:
        """Nothing."""

    async def put_number(self, key: str, number: int) -> None:
        """Nothing."""

    async def forget(self, *keys: str) -> None:
        """Nothing."""


class RedisModels:
    """Read models that the replicas share. A failure makes it stand aside for a moment."""

    def __init__(self, redis: "Redis", clock: Callable[[], float]) -> None:
        self._redis, self._clock = redis, clock
        self._away_until = 0.0

    async def list(self, key: str, count: int) -> tuple[str, ...] | None:
        """The first members, if they are fresh."""
        return await self._members(key, lambda pipe: pipe.lrange(key, 0, count - 1))

    async def put_list(self, key: str, members: Sequence[str]) -> None:
        """Write it in one step."""
        await self._written(key, lambda pipe: pipe.rpush(key, *members) if members else None)

    async def ranking(self, key: str, count: int) -> tuple[str, ...] | None:
        """The members with the highest scores, if they are fresh."""
        return await self._members(key, lambda pipe: pipe.zrange(key, 0, count - 1, desc=True))

    async def put_ranking(self, key: str, scores: dict[str, float]) -> None:
        """Write it in one step."""
        await self._written(key, lambda pipe: pipe.zadd(key, scores) if scores else None)

    async def move(self, key: str, member: str, score: float) -> None:
        """Set a score, and take the companion away."""
        await self._run(lambda pipe: (pipe.delete(key + MARK), pipe.zadd(key, {member: score})), key)

    async def put_set(self, key: str, members: Sequence[str]) -> None:
        """Write it in one step."""
        await self._written(key, lambda pipe: pipe.sadd(key, *members) if members else None)

    async def member(self, key: str, member: str, *, there: bool) -> None:
        """Change it, if it is there: a set that begins with one member would say that there are no others."""
        known = await self._run(lambda pipe: pipe.exists(key), key)
        if known and known[0]:
            await self._run(lambda pipe: pipe.sadd(key, member) if there else pipe.srem(key, member), key)

    async def put_number(self, key: str, number: int) -> None:
        """Write it."""
        await self._run(lambda pipe: pipe.set(key, number, ex=KEPT_SECONDS), key)

    async def forget(self, *keys: str) -> None:
        """Take the companions away; tried even when Redis seems away, since a stale list is worse than a wait."""
        if keys:
            self._away_until = 0.0
            await self._run(lambda pipe: pipe.delete(*(key + MARK for key in keys)))

    async def _members(self, key: str, read: Callable[["Pipeline"], Any]) -> tuple[str, ...] | None:
        found = await self._run(lambda pipe: (pipe.exists(key + MARK), read(pipe)), key)
        if not found or not found[0] or not found[1]:
            return None
        return tuple(member.decode() for member in found[1])

    async def _written(self, key: str, write: Callable[["Pipeline"], Any]) -> None:
        def all_of_it(pipe: "Pipeline") -> None:
            pipe.delete(key, key + MARK)
            write(pipe)
            pipe.expire(key, KEPT_SECONDS)
            pipe.set(key + MARK, 1, ex=FRESH_SECONDS)

        await self._run(all_of_it, key)

    async def _run(self, commands: Callable[["Pipeline"], Any], *keys: str) -> Sequence[Any] | None:
        """Run commands in one step; None when Redis is away, or a key was of another type and is gone now."""
        if self._clock() < self._away_until:
            return None
        try:
            return await self._executed(commands)
        except ResponseError:  # WRONGTYPE: somebody else wrote there
            return await self._healed(keys)
        except (RedisError, OSError) as error:
            return self._stand_aside(error)

    async def _executed(self, commands: Callable[["Pipeline"], Any]) -> Sequence[Any]:
        async with self._redis.pipeline(transaction=True) as pipe:
            commands(pipe)
            found: Sequence[Any] = await pipe.execute()
        return found

    async def _healed(self, keys: Sequence[str]) -> None:
        logger.warning("read_model_healed", keys=len(keys))
        try:
            await self._redis.delete(*keys, *(key + MARK for key in keys))
        except (RedisError, OSError) as error:
            self._stand_aside(error)

    def _stand_aside(self, error: Exception) -> None:
        self._away_until = self._clock() + RETRY_AFTER_SECONDS
        logger.warning("read_models_away", cause=type(error).__name__)


@asynccontextmanager
async def open_models(redis_url: str, clock: Callable[[], float]) -> AsyncIterator[RedisModels | NoModels]:
    """The read models at a Redis URL; none when the URL is empty."""
    if not redis_url:
        yield NoModels()
        return
    redis = Redis.from_url(redis_url, socket_timeout=CACHE_BUDGET_SECONDS, socket_connect_timeout=CACHE_BUDGET_SECONDS)
    try:
        yield RedisModels(redis, clock)
    finally:
        await redis.aclose()
