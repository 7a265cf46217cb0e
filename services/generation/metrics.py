"""Counters and state-change log lines, written at the moment a change is committed.

No label and no line holds a prompt, a key or a token, and no label an id. How far a consumer lags behind the outbox is
the consumer's metric: only a consumer knows which event it has processed.
"""

from collections.abc import Mapping

import structlog
from prometheus_client import Counter, Gauge, Histogram

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
