"""Wakes loops and watchers of this process when something was committed; those elsewhere find it by polling."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Bell:
    """Topics and who listens to them. A ring between two waits is not lost: the event stays set."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closing = False

    def ring(self, *topics: str) -> None:
        """Wake whoever listens to any of the topics."""
        for topic in topics:
            for event in self._listeners.get(topic, ()):
                event.set()

    def close(self) -> None:
        """Wake everybody for the last time: streams end, so that a stop does not wait for their readers."""
        self.closing = True
        self.ring(*self._listeners)

    def ring_later(self, topic: str, seconds: float) -> None:
        """Ring once more after a while, for work that becomes due then."""
        asyncio.get_running_loop().call_later(seconds, self.ring, topic)

    @contextmanager
    def listening(self, topic: str) -> Iterator["Ear"]:
        """Listen to a topic while inside."""
        event = asyncio.Event()
        self._listeners[topic].add(event)
        try:
            yield Ear(event)
        finally:
            self._listeners[topic].discard(event)
            if not self._listeners[topic]:
                del self._listeners[topic]


class Ear:
    """One listener: look for work after each wait, since the ring came before or after the last look."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def wait(self, seconds: float) -> None:
        """Return when it rang since the last wait, or after so many seconds.

        Not by wait_for: until Python 3.12 it loses a cancellation that comes together with the ring.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        finally:
            self._event.clear()
