"""What is true now, looked up just before each scrape: how much is open and for how long, and how the keys are."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from services.chassis.errors import Unavailable
from services.generation.keyring import KeyStatus, Pool
from services.generation.model import FINAL, State

IN_STATE = Gauge("kawaii_generations_in_state", "Generations that are not over, or UNKNOWN, by state.", ("state",))
OLDEST = Gauge("kawaii_oldest_generation_seconds", "Since the oldest of a state was ordered.", ("state",))
KEYS = Gauge("kawaii_provider_keys", "Keys of the pool; one whose account rests is resting.", ("state",))
MISSING = Gauge("kawaii_tasks_without_account", "Tasks that wait for an account of which no key is configured.")
INBOX_LAG = Gauge("kawaii_inbox_lag_seconds", "For how long the oldest webhook that is due has waited to be looked at.")

OPEN = tuple(state for state in State if state not in FINAL or state is State.UNKNOWN)
KEY_STATES = ("active", "resting", "disabled")


@dataclass(frozen=True)
class Census:
    """How many generations are in each open state, how long ago the oldest was ordered, and how late the inbox is."""

    count: Mapping[State, int]
    oldest_seconds: Mapping[State, float]
    inbox_seconds: float


class Gauges:
    """Sets the gauges; while the database is away there is nothing to show."""

    def __init__(
        self,
        census: Callable[[], Awaitable[Census]],
        pool: Callable[[], Awaitable[Pool]],
        measure: Callable[[], Awaitable[None]],
    ) -> None:
        self._census = census
        self._measure = measure
        self._pool = pool

    async def refresh(self) -> None:
        """Look again."""
        try:
            census, pool = await self._census(), await self._pool()
            await self._measure()
        except Unavailable:
            forget()
        else:
            show_generations(census)
            show_keys(pool)


def show_generations(census: Census) -> None:
    """Show each open state, the empty ones too."""
    for state in OPEN:
        IN_STATE.labels(state).set(census.count.get(state, 0))
        OLDEST.labels(state).set(census.oldest_seconds.get(state, 0.0))
    INBOX_LAG.set(census.inbox_seconds)


def show_keys(pool: Pool) -> None:
    """Show how many keys are in each state."""
    resting = {account.name for account in pool.accounts if account.rest_until_ms}
    MISSING.set(sum(account.waiting_tasks for account in pool.accounts))
    states = [state_of(key, account_rests=key.account in resting) for key in pool.keys]
    for state in KEY_STATES:
        KEYS.labels(state).set(states.count(state))


def state_of(key: KeyStatus, *, account_rests: bool) -> str:
    """One of KEY_STATES: what the key is good for, whoever is the cause."""
    if key.disabled:
        return "disabled"
    return "resting" if key.rest_until_ms or account_rests else "active"


def forget() -> None:
    """Show nothing rather than what was."""
    for gauge in (IN_STATE, OLDEST, KEYS):
        gauge.clear()
    INBOX_LAG.set(math.nan)
    MISSING.set(math.nan)
