"""Timing of the background work: every delay, timeout and retention, with its reason, and how much runs at once."""

import random
from dataclasses import dataclass

JITTER = 0.12  # spreads polls that began together (docs/provider.md#how-kawaii-calls-kie)
FOR_EVER_SECONDS = 10 * 365 * 86_400.0  # due only when a callback arrives
DAY_SECONDS = 86_400.0
READ_GAP_SECONDS = 0.35  # KIE allows three reads of a task a second (docs/provider.md#limits)
RECONCILE_SECONDS = 14 * DAY_SECONDS  # how long the provider keeps results (docs/provider.md#retention)


@dataclass(frozen=True)
class Timing:
    """Delays, timeouts and retentions, in seconds; most are settings."""

    create_wait: float = 8.0
    """How long CreateGeneration waits for a definite answer."""
    copy_patience: float = 10.0
    """How long copying may fail before the upstream URL is shown."""
    lost_after: float = 3 * DAY_SECONDS
    """How long a picture must have been gone before it counts as lost: an edge may refuse for hours, and the provider
    keeps results for 14 days (docs/provider.md#retention), so that days of trying lose nothing."""
    submit_within: float = 900.0
    """When an order that could not be submitted ends as EXPIRED, with nothing billed."""
    unpaid_within: float = 45.0
    """When an order that every account refuses for lack of credits (402) ends, with nothing billed: within a minute."""
    unknown_after: float = 900.0
    """How long a lost answer's callback is awaited."""
    dry_after: float = 8.0
    """A new order is refused when no account can take one for longer than this."""
    balance: float = 60.0
    """How often an account's balance is read."""
    dry_balance: float = 5.0
    """How often it is read while the account has no credits."""
    lease: float = 10.0
    """How long the work of a process that died waits for another; renewed while the work goes on."""
    reconcile: float = RECONCILE_SECONDS
    """How long a task is polled at most; the provider keeps results no longer."""
    keep_events: float = 30 * DAY_SECONDS
    """How long the outbox keeps events for consumers that are behind."""
    keep_callbacks: float = 30 * DAY_SECONDS
    """How long the inbox keeps closed callbacks, by which repetitions are recognised."""
    record_pause: float = 5.0
    """The longest pause between tries to record an answer while the database is away: soon after it is back."""
    first_poll: float = 3.0
    """No model is faster; the callback usually comes first."""


@dataclass(frozen=True)
class Concurrency:
    """How many generations each loop works on at once."""

    submits: int
    polls: int
    copies: int


def jittered(seconds: float) -> float:
    """A delay with jitter, a little longer or shorter."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, hides nothing


def poll_delay(tries: int) -> float:
    """The delay of a read: 3 s ten times, then longer by 1.3 up to 30 s (docs/provider.md#how-kawaii-calls-kie)."""
    return jittered(min(3.0 * 1.3 ** max(tries - 10, 0), 30.0))


def reconcile_delay(age: float) -> float:
    """The delay before an overdue task is read again: a tenth of its age, at most an hour."""
    return jittered(min(max(age / 10, 30.0), 3600.0))


def retry_delay(tries: int) -> float:
    """The delay before the next try: 1 s doubling to a minute, for copies and submits that were provably not sent."""
    return jittered(min(2.0 ** min(max(tries - 1, 0), 6), 60.0))
