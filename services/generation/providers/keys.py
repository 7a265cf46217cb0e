"""The pool of provider keys: accounts with a bucket each, and cooling by cause, so that one bad key harms no order."""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from services.generation.ports import Key

CREATES, WINDOW_SECONDS = 18, 10.0  # KIE refuses the 21st create in 10 s of an account; callers keep head-room
KEY_CODES = frozenset({401, 433})  # about the key; every other refusal is about its account
COOLING_SECONDS = {401: 300.0, 402: 60.0, 429: 10.0, 430: 10.0, 433: 600.0, 455: 120.0, 505: 300.0, 550: 30.0}
DEFAULT_COOLING_SECONDS = 10.0
MAX_COOLING_SECONDS = 3600.0  # whatever a Retry-After says: everything returns by itself

logger = structlog.get_logger()


@dataclass
class Account:
    """One KIE account: its keys, its recent creates and until when it rests."""

    name: str
    keys: list[Key]
    creates: deque[float] = field(default_factory=deque)
    rests_until: float = 0.0


class KeyPool:
    """Keeps the pool in this process."""

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests: dict[str, float] = {}
        self._accounts = {key.account: Account(key.account, []) for key in keys}
        for key in keys:
            self._accounts[key.account].keys.append(key)

    async def acquire(self, avoid: Collection[str] = ()) -> Key | float:
        """See ports. The account with the most room goes first."""
        waits = {name: self._wait(account) for name, account in self._accounts.items()}
        free = [self._accounts[name] for name, wait in waits.items() if wait <= 0]
        if not free:
            return min(waits.values(), default=DEFAULT_COOLING_SECONDS)
        chosen = min(free, key=lambda account: (account.name in avoid, len(account.creates)))
        chosen.creates.append(self._clock())
        return self._working(chosen)[0]

    async def reader(self, account: str = "") -> Key | None:
        """See ports. A resting account can still be read; a key that was refused cannot."""
        accounts = [self._accounts[account]] if account in self._accounts else list(self._accounts.values())
        if account and account not in self._accounts:
            return None
        return next((key for candidate in accounts for key in self._working(candidate)), None)

    async def refused(self, key: Key, code: int, retry_after: float | None) -> None:
        """See ports."""
        cooling = retry_after or COOLING_SECONDS.get(code, DEFAULT_COOLING_SECONDS)
        until = self._clock() + min(cooling, MAX_COOLING_SECONDS)
        if code in KEY_CODES:
            self._rests[key.print] = until
        else:
            self._accounts[key.account].rests_until = until
        logger.warning("key_cooling", account=key.account, print=key.print, code=code)

    def _working(self, account: Account) -> list[Key]:
        return [key for key in account.keys if self._rests.get(key.print, 0) <= self._clock()]

    def _wait(self, account: Account) -> float:
        """Seconds until the account may create again."""
        now = self._clock()
        while account.creates and account.creates[0] <= now - WINDOW_SECONDS:
            account.creates.popleft()
        full = account.creates[0] + WINDOW_SECONDS - now if len(account.creates) >= CREATES else 0.0
        first_key = min((self._rests.get(key.print, 0) for key in account.keys), default=now) - now
        return max(full, account.rests_until - now, first_key, 0.0)
