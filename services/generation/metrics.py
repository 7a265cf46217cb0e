"""The metrics of generation: counters and log lines of state changes, and gauges that are read before each scrape.

No label and no line holds a prompt, a key or a token, and no label an id. How far a consumer lags behind the outbox is
the consumer's metric: only a consumer knows which event it has processed.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Gauge, Histogram

from services.chassis.errors import Unavailable
from services.generation.key_pool.pool import KeyStatus, PoolStatus
from services.generation.model import FINAL, Generation, State
from services.generation.outcomes import Accepted, Ambiguous, NotSent, Outcome, Refused, Rejected

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900, 3600)  # a picture takes 10 s to minutes
CODES = range(100, 600)  # the provider chooses codes; labels must be bounded

CREATED = Counter("kawaii_generations_created_total", "Orders taken, repetitions not counted.", ("provider", "model"))
FINISHED = Counter("kawaii_generations_finished_total", "Generations that reached a final state.", ("state", "reason"))
PHASE = Histogram("kawaii_generation_seconds", "How long each phase took.", ("phase",), buckets=SECONDS)
REQUESTS = Counter("kawaii_provider_requests_total", "Answers of the provider, by its code.", ("provider", "code"))
COOLDOWNS = Counter("kawaii_provider_key_cooldowns_total", "Rests that began, by the provider's code.", ("code",))
ATTEMPTS = Counter("kawaii_attempts_total", "Submits, by what is known of their outcome.", ("outcome",))
CALLBACKS = Counter("kawaii_callbacks_total", "Webhooks dealt with.", ("verdict",))
DOUBLE_BILLS = Counter("kawaii_double_bills_observed_total", "Attempts that turned out to have two tasks.")

UNRECORDED = Gauge("kawaii_unrecorded_answers", "Answers of the provider that wait for the database to return.")
LATE = Counter("kawaii_late_results_total", "Pictures of tasks that were not awaited any more.", ("done",))

IN_STATE = Gauge("kawaii_generations_in_state", "Generations that are not over, or UNKNOWN, by state.", ("state",))
OLDEST = Gauge("kawaii_oldest_generation_seconds", "Since the oldest of a state was ordered.", ("state",))
KEYS = Gauge("kawaii_provider_keys", "Keys of the pool; one whose account rests is resting.", ("state",))
MISSING = Gauge("kawaii_tasks_without_account", "Tasks that wait for an account of which no key is configured.")
INBOX_LAG = Gauge(
    "kawaii_inbox_lag_seconds", "For how long the oldest callback that is due has waited to be looked at."
)

OPEN = tuple(state for state in State if state not in FINAL or state is State.UNKNOWN)
KEY_STATES = ("active", "resting", "disabled")

# When a phase ends, and between which times of the row it lay.
PHASES: Mapping[State, tuple[str, str, str]] = {
    State.RUNNING: ("wait", "ready_ms", "submit_ms"),
    State.STORING: ("draw", "submit_ms", "store_ms"),
    State.SUCCEEDED: ("store", "store_ms", "complete_ms"),
}
# When a state was entered; a state not named here is never touched, so its last update was its first.
ENTERED: Mapping[State, str] = {
    State.READY: "ready_ms",
    State.RUNNING: "submit_ms",
    State.STORING: "store_ms",
    **dict.fromkeys(FINAL, "complete_ms"),
}
OUTCOMES: Mapping[type[Outcome], str] = {
    Accepted: "ACCEPTED",
    NotSent: "NOT_SENT",
    Refused: "REFUSED",
    Rejected: "REJECTED",
    Ambiguous: "AMBIGUOUS",
}

logger = structlog.get_logger()


def created(generation: Generation) -> None:
    """An order was stored."""
    CREATED.labels(generation.family, generation.draft.model).inc()
    logger.info("state_changed", generation=generation.id, to=generation.state)


def moved(before: Generation, after: Generation) -> None:
    """A generation was written; nothing is counted unless its state changed."""
    if before.state is after.state:
        return
    reason = after.failure.reason if after.failure else ""
    if after.state in FINAL:
        FINISHED.labels(after.state, reason).inc()
    if phase := PHASES.get(after.state):
        observe(after, *phase)
    stayed = since(before, ENTERED.get(before.state, "update_ms"), after.update_ms)
    fields = {"from": before.state, "to": after.state, "reason": reason, "seconds": stayed}
    logger.info("state_changed", generation=after.id, **fields)


def observe(generation: Generation, phase: str, begin: str, end: str) -> None:
    """Measure a phase that has both its times."""
    seconds = since(generation, begin, getattr(generation, end))
    if seconds is not None:
        PHASE.labels(phase).observe(seconds)


def since(generation: Generation, begin: str, end_ms: int) -> float | None:
    """Seconds from one of a generation's times to another; None when either is unknown."""
    begin_ms: int = getattr(generation, begin)
    return max(end_ms - begin_ms, 0) / 1000 if begin_ms and end_ms else None


def attempted(outcome: Outcome) -> None:
    """The outcome of a submit was recorded."""
    ATTEMPTS.labels(OUTCOMES[type(outcome)]).inc()


def called_back(verdict: str) -> None:
    """A callback was processed, or was in the inbox already."""
    CALLBACKS.labels(verdict).inc()


def double_bill(attempt_id: str, task_id: str, other_task_id: str) -> None:
    """An attempt turned out to have two tasks upstream."""
    DOUBLE_BILLS.inc()
    logger.error("double_bill_observed", attempt=attempt_id, task=task_id, other=other_task_id)


def late_result(generation_id: str, attempt_id: str, task_id: str, done: str) -> None:
    """Results came of a task that its generation no longer waited for."""
    LATE.labels(done).inc()
    logger.warning("late_result", generation=generation_id, attempt=attempt_id, task=task_id, done=done)


def cooled(code: int) -> None:
    """A cooldown of a key, an account or a model began."""
    COOLDOWNS.labels(label(code)).inc()


def answered(provider: str, code: int | str) -> None:
    """The provider answered with a code, or `code` is a word that says why there was none."""
    REQUESTS.labels(provider, label(code) if isinstance(code, int) else code).inc()


def label(code: int) -> str:
    """A code that cannot make ever new series."""
    return str(code) if code in CODES else "other"


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
            show_nothing()
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


def show_nothing() -> None:
    """Show no values rather than old ones."""
    for gauge in (IN_STATE, OLDEST, KEYS):
        gauge.clear()
    INBOX_LAG.set(math.nan)
    MISSING.set(math.nan)
