"""Wakes waiting loops and watchers after a commit, of this process and, through PostgreSQL, of other replicas."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Notifier:
    """Topics and their subscriptions. A notification between two waits is not lost: the event stays set."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closing = False

    def notify(self, *topics: str) -> None:
        """Wake the subscriptions to any of the topics."""
        for topic in topics:
            for event in self._listeners.get(topic, ()):
                event.set()

    def notify_all(self) -> None:
        """Wake every subscription: notifications may have been lost."""
        self.notify(*self._listeners)

    def close(self) -> None:
        """Wake all subscriptions for the last time: streams end, so that a stop does not wait for their readers."""
        self.closing = True
        self.notify(*self._listeners)

    def notify_later(self, topic: str, seconds: float) -> None:
        """Notify once more after some seconds, for work that becomes due then."""
        asyncio.get_running_loop().call_later(seconds, self.notify, topic)

    @contextmanager
    def subscribed(self, topic: str) -> Iterator["Subscription"]:
        """Subscribe to a topic while inside."""
        event = asyncio.Event()
        self._listeners[topic].add(event)
        try:
            yield Subscription(event)
        finally:
            self._listeners[topic].discard(event)
            if not self._listeners[topic]:
                del self._listeners[topic]


class Subscription:
    """One subscription: look for work after each wait, since the notification came before or after the last look."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    @property
    def notified(self) -> bool:
        """Whether the topic was notified since the last wait."""
        return self._event.is_set()

    async def wait(self, seconds: float) -> None:
        """Return when the topic was notified since the last wait, or after so many seconds.

        Not by wait_for: until Python 3.12 it loses a cancellation that comes together with the notification.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        finally:
            self._event.clear()
