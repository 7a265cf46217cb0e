"""Tells the town's other processes at once that something changed, by Redis pub/sub: a hint that spares stale answers.

Nothing may depend on a notice: Redis may be away, and pub/sub keeps nothing for those who were not listening.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

ANNOUNCE_SECONDS = 0.1  # a writer waits no longer for Redis than a reader does
RETRY_SECONDS = 0.25  # a restarted Redis is heard again before anybody notices
SILENCE_SECONDS = 1.0  # after so long without a notice, the connection is asked whether it still lives

EVERYTHING = ""  # the notice that anything may have changed

Heard = Callable[[str], None]

logger = structlog.get_logger()


class Bulletin:
    """One channel of short texts. Without Redis nobody hears anything."""

    def __init__(self, redis: Redis | None, channel: str) -> None:
        self._redis, self._channel = redis, channel
        self._owed = False
        self._away = False

    async def announce(self, text: str) -> None:
        """Tell everybody who listens now. Never raises: what could not be told is made up for by EVERYTHING."""
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                await self._redis.publish(self._channel, text)
        except (RedisError, OSError) as error:
            self._owed = True
            logger.warning("notice_lost", channel=self._channel, cause=type(error).__name__)

    async def listen(self, heard: Heard) -> None:
        """Listen until cancelled. EVERYTHING is heard, too, whenever notices may have been missed."""
        if self._redis is None:
            await asyncio.Event().wait()
            return
        while True:
            try:
                await self._follow(self._redis, heard)
            except (RedisError, OSError) as error:
                self._note_absence(error)
            heard(EVERYTHING)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, redis: Redis, heard: Heard) -> None:
        async with redis.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            self._away = False
            while True:
                if (text := await next_text(subscription)) is not None:
                    heard(text)
                if self._owed:
                    self._owed = False
                    await self.announce(EVERYTHING)

    def _note_absence(self, error: Exception) -> None:
        if not self._away:  # once, however often we try
            logger.warning("bulletin_away", channel=self._channel, cause=type(error).__name__)
        self._away = True


async def next_text(subscription: PubSub) -> str | None:
    """The next notice, None after a silence; a subscription that begins, again or anew, is EVERYTHING.

    Raises:
        RedisError: the connection is gone, or does not answer.
    """
    message = await subscription.get_message(timeout=SILENCE_SECONDS)
    if message is None:
        await subscription.ping()
        message = await subscription.get_message(timeout=SILENCE_SECONDS)
    match message:
        case {"type": "message", "data": bytes(data)}:
            return data.decode(errors="replace")
        case {"type": "subscribe"}:
            return EVERYTHING
        case None:
            raise Disconnected("Redis does not answer.")
    return None


@asynccontextmanager
async def open_bulletin(redis_url: str, channel: str) -> AsyncIterator[Bulletin]:
    """A channel at a Redis URL; a mute one when the URL is empty."""
    if not redis_url:
        yield Bulletin(None, channel)
        return
    redis = Redis.from_url(redis_url, socket_connect_timeout=SILENCE_SECONDS)
    try:
        yield Bulletin(redis, channel)
    finally:
        await redis.aclose()
