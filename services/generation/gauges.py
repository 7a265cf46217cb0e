"""Prometheus gauges, looked up before each scrape: the backlog of open generations and callbacks, and the key pool."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from services.chassis.errors import Unavailable
from services.generation.key_pool.pool import KeyStatus, PoolStatus
from services.generation.model import FINAL, State

IN_STATE = Gauge("kawaii_generations_in_state", "Generations that are not over, or UNKNOWN, by state.", ("state",))
OLDEST = Gauge("kawaii_oldest_generation_seconds", "Since the oldest of a state was ordered.", ("state",))
KEYS = Gauge("kawaii_provider_keys", "Keys of the pool; one whose account rests is resting.", ("state",))
MISSING = Gauge("kawaii_tasks_without_account", "Tasks that wait for an account of which no key is configured.")
INBOX_LAG = Gauge(
    "kawaii_inbox_lag_seconds", "For how long the oldest callback that is due has waited to be looked at."
)

OPEN = tuple(state for state in State if state not in FINAL or state is State.UNKNOWN)
KEY_STATES = ("active", "resting", "disabled")


@dataclass(frozen=True)
class Backlog:
    """The open work: generations in each open state, the age of the oldest, and the lag of the callback inbox."""

    count: Mapping[State, int]
    oldest_seconds: Mapping[State, float]
    inbox_seconds: float


class Gauges:
    """Sets the gauges; while the database is away they show no values."""

    def __init__(
        self,
        backlog: Callable[[], Awaitable[Backlog]],
        pool: Callable[[], Awaitable[PoolStatus]],
        measure: Callable[[], Awaitable[None]],
    ) -> None:
        self._backlog = backlog
        self._measure = measure
        self._pool = pool

    async def refresh(self) -> None:
        """Read backlog and key pool, and set the gauges."""
        try:
            backlog, pool = await self._backlog(), await self._pool()
            await self._measure()
        except Unavailable:
            forget()
        else:
            show_generations(backlog)
            show_keys(pool)


def show_generations(backlog: Backlog) -> None:
    """Set the gauges of each open state, the empty ones too."""
    for state in OPEN:
        IN_STATE.labels(state).set(backlog.count.get(state, 0))
        OLDEST.labels(state).set(backlog.oldest_seconds.get(state, 0.0))
    INBOX_LAG.set(backlog.inbox_seconds)


def show_keys(pool: PoolStatus) -> None:
    """Set the gauges of the keys in each state."""
    resting = {account.name for account in pool.accounts if account.rest_until_ms}
    MISSING.set(sum(account.waiting_tasks for account in pool.accounts))
    states = [state_of(key, account_rests=key.account in resting) for key in pool.keys]
    for state in KEY_STATES:
        KEYS.labels(state).set(states.count(state))


def state_of(key: KeyStatus, *, account_rests: bool) -> str:
    """One of KEY_STATES; a key whose account rests is resting."""
    if key.disabled:
        return "disabled"
    return "resting" if key.rest_until_ms or account_rests else "active"


def forget() -> None:
    """Show no values rather than old ones."""
    for gauge in (IN_STATE, OLDEST, KEYS):
        gauge.clear()
    INBOX_LAG.set(math.nan)
    MISSING.set(math.nan)
