"""Cache invalidation over Redis pub/sub: tells the other processes that something changed, to spare stale answers.

Nothing may depend on a notice: Redis may be away, and pub/sub keeps nothing for processes that were not subscribed.
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
RETRY_SECONDS = 0.25  # a restarted Redis is subscribed to again before a user notices
SILENCE_SECONDS = 1.0  # after so long without a notice, the connection is asked whether it still lives

EVERYTHING = ""  # the notice that anything may have changed

OnNotice = Callable[[str], None]

logger = structlog.get_logger()


class Invalidations:
    """One pub/sub channel of invalidation notices, short texts. Without Redis no process receives any."""

    def __init__(self, redis: Redis | None, channel: str) -> None:
        self._redis, self._channel = redis, channel
        self._owed = False
        self._away = False

    async def announce(self, text: str) -> None:
        """Publish a notice to the subscribed processes. Never raises: EVERYTHING makes up for a lost notice."""
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                await self._redis.publish(self._channel, text)
        except (RedisError, OSError) as error:
            self._owed = True
            logger.warning("notice_lost", channel=self._channel, cause=type(error).__name__)

    async def listen(self, on_notice: OnNotice) -> None:
        """Call `on_notice` with each notice until cancelled, and with EVERYTHING when notices may have been missed."""
        if self._redis is None:
            await asyncio.Event().wait()
            return
        while True:
            try:
                await self._follow(self._redis, on_notice)
            except (RedisError, OSError) as error:
                self._note_absence(error)
            on_notice(EVERYTHING)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, redis: Redis, on_notice: OnNotice) -> None:
        async with redis.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            self._away = False
            while True:
                if (text := await next_text(subscription)) is not None:
                    on_notice(text)
                if self._owed:
                    self._owed = False
                    await self.announce(EVERYTHING)

    def _note_absence(self, error: Exception) -> None:
        if not self._away:  # logged once, however often the connection is tried
            logger.warning("invalidations_away", channel=self._channel, cause=type(error).__name__)
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
async def open_invalidations(redis_url: str, channel: str) -> AsyncIterator[Invalidations]:
    """The channel at a Redis URL; without a URL one that publishes and receives nothing."""
    if not redis_url:
        yield Invalidations(None, channel)
        return
    redis = Redis.from_url(redis_url, socket_connect_timeout=SILENCE_SECONDS)
    try:
        yield Invalidations(redis, channel)
    finally:
        await redis.aclose()
