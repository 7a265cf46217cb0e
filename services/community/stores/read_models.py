"""Read models in Redis under the seeds' names and types: what can be made again from the rows at any time.

Beside a list or a ranking stand two words: its epoch, which every change of what it derives from makes another, and the
epoch at which it was read from the rows. It is believed for a minute, and only while they are the same. A key of
another type is a stranger's: it is written over.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

from services.chassis.cache import CACHE_BUDGET_SECONDS
from services.community.ports import Look

FRESH_SECONDS = 60  # how late another replica's change may show if the word of it was lost
KEPT_SECONDS = 86_400  # Valkey evicts only what has an end
RETRY_AFTER_SECONDS = 1.0  # after a failure Redis is left alone for so long
MOST_UNSAID = 10_000  # changes of a long outage; beyond them nothing is believed for as long as a list would be
EPOCH, READ_AT = ":epoch", ":read"
NEW = b"0"  # the epoch of what never changed
AWAY = Look(None, b"")
Commands = Callable[[Pipeline], Any]

logger = structlog.get_logger()


class RedisModels:
    """Read models that the replicas share; without a Redis every look is a miss. It counts what it has written."""

    def __init__(self, redis: Redis | None, clock: Callable[[], float]) -> None:
        self._redis, self._clock = redis, clock
        self._away_until = self._doubt_until = 0.0
        self._unsaid: set[str] = set()
        self.written = 0

    async def list(self, key: str, count: int) -> Look:
        """The first members, if they are fresh."""
        return await self._look(key, lambda pipe: pipe.lrange(key, 0, count - 1))

    async def ranking(self, key: str, count: int) -> Look:
        """The members with the highest scores, if they are fresh."""
        return await self._look(key, lambda pipe: pipe.zrange(key, 0, count - 1, desc=True))

    async def put_list(self, key: str, members: Sequence[str], epoch: bytes) -> None:
        """Write it in one step."""
        await self._put(key, epoch, (lambda pipe: pipe.rpush(key, *members)) if members else None)

    async def put_ranking(self, key: str, scores: dict[str, float], epoch: bytes) -> None:
        """Write it in one step."""
        await self._put(key, epoch, (lambda pipe: pipe.zadd(key, scores)) if scores else None)

    async def put_set(self, key: str, members: Sequence[str]) -> None:
        """Write it in one step."""
        await self._put(key, NEW, (lambda pipe: pipe.sadd(key, *members)) if members else None)

    async def put_number(self, key: str, number: int) -> None:
        """Write it."""
        if await self._run(lambda pipe: pipe.set(key, number, ex=KEPT_SECONDS), key):
            self.written += 1

    async def score(self, key: str, member: str, score: float) -> None:
        """Move it, if it is there: a ranking that begins with one member would say that there are no others."""
        await self._run(lambda pipe: pipe.zadd(key, {member: score}, xx=True), key)
        await self.forget(key)

    async def member(self, key: str, member: str, *, there: bool) -> bool:
        """Change the set, if there is one."""
        found = await self._run(lambda pipe: pipe.exists(key), key)
        if found and found[0]:
            await self._run(lambda pipe: pipe.sadd(key, member) if there else pipe.srem(key, member), key)
        return not found or bool(found[0])

    async def forget(self, *keys: str) -> None:
        """Begin another epoch. What cannot be said now is said before the next look."""
        if self._redis is None:
            return
        self._unsaid.update(keys)
        if len(self._unsaid) > MOST_UNSAID:
            self._unsaid.clear()
            self._doubt_until = self._clock() + FRESH_SECONDS
        words = {key + EPOCH: secrets.token_hex(8) for key in self._unsaid}

        def begin(pipe: Pipeline) -> None:
            for name, word in words.items():
                pipe.set(name, word, ex=KEPT_SECONDS)

        if await self._run(begin):
            self._unsaid.difference_update(name.removesuffix(EPOCH) for name in words)

    async def _look(self, key: str, read: Commands) -> Look:
        if self._unsaid:
            await self.forget()
        found = await self._run(lambda pipe: (pipe.mget(key + EPOCH, key + READ_AT), read(pipe)), key)
        if not found or key in self._unsaid or self._clock() < self._doubt_until:
            return AWAY
        (epoch, read_at), members = found
        fresh = read_at is not None and read_at == (epoch or NEW)
        return Look(tuple(member.decode() for member in members) if fresh and members else None, epoch or NEW)

    async def _put(self, key: str, epoch: bytes, write: Commands | None) -> None:
        """Write a key anew; Redis has no empty lists, so without members it is only removed."""

        def anew(pipe: Pipeline) -> None:
            pipe.delete(key)
            if write:
                write(pipe)
                pipe.expire(key, KEPT_SECONDS)
            pipe.set(key + READ_AT, epoch, ex=FRESH_SECONDS)

        if await self._run(anew, key) and write:
            self.written += 1

    async def _run(self, commands: Commands, *keys: str) -> Sequence[Any] | None:
        """Run commands in one step; None when Redis is away, or a key was of another type, which is gone now."""
        if self._redis is None or self._clock() < self._away_until:
            return None
        try:
            return await self._executed(self._redis, commands)
        except ResponseError:  # WRONGTYPE: somebody else wrote there
            await self._heal(self._redis, keys)
        except (RedisError, OSError) as error:
            self._stand_aside(error)
        return None

    async def _executed(self, redis: Redis, commands: Commands) -> Sequence[Any]:
        async with redis.pipeline(transaction=True) as pipe:
            commands(pipe)
            found: Sequence[Any] = await pipe.execute()
        return found

    async def _heal(self, redis: Redis, keys: Sequence[str]) -> None:
        logger.warning("read_model_healed", keys=len(keys))
        try:
            await redis.delete(*keys)
        except (RedisError, OSError) as error:
            self._stand_aside(error)

    def _stand_aside(self, error: Exception) -> None:
        self._away_until = self._clock() + RETRY_AFTER_SECONDS
        logger.warning("read_models_away", cause=type(error).__name__)


@asynccontextmanager
async def open_models(redis_url: str, clock: Callable[[], float]) -> AsyncIterator[RedisModels]:
    """The read models at a Redis URL; none when the URL is empty."""
    if not redis_url:
        yield RedisModels(None, clock)
        return
    redis = Redis.from_url(redis_url, socket_timeout=CACHE_BUDGET_SECONDS, socket_connect_timeout=CACHE_BUDGET_SECONDS)
    try:
        yield RedisModels(redis, clock)
    finally:
        await redis.aclose()
