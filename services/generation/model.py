"""The model of generation: orders, states and the legal moves between them, attempts, callbacks, events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.generation.quota import Quota


class State(StrEnum):
    """The state of a generation; the proto's comments explain each."""

    READY = "READY"
    DIALING = "DIALING"
    SENDING = "SENDING"
    AMBIGUOUS = "AMBIGUOUS"
    RUNNING = "RUNNING"
    STORING = "STORING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    RESULT_LOST = "RESULT_LOST"


# A state missing on the right can never be reached from the one on the left. SENDING is the point of no return:
# only a refusal that proves that nothing was accepted leads back to READY.
MOVES: Mapping[State, frozenset[State]] = {
    State.READY: frozenset({State.DIALING, State.CANCELED, State.EXPIRED}),
    State.DIALING: frozenset({State.READY, State.SENDING, State.CANCELED}),
    State.SENDING: frozenset({State.READY, State.RUNNING, State.FAILED, State.AMBIGUOUS, State.CANCELED}),
    State.AMBIGUOUS: frozenset({State.RUNNING, State.UNKNOWN, State.CANCELED}),
    State.RUNNING: frozenset({State.STORING, State.FAILED, State.UNKNOWN, State.CANCELED}),
    State.STORING: frozenset({State.SUCCEEDED, State.RESULT_LOST, State.CANCELED}),
    State.UNKNOWN: frozenset({State.RUNNING, State.STORING, State.FAILED, State.CANCELED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELED: frozenset(),
    State.EXPIRED: frozenset(),
    State.RESULT_LOST: frozenset(),
}
UNSENT = frozenset({State.READY, State.DIALING})
UNANSWERED = frozenset({State.SENDING, State.AMBIGUOUS, State.UNKNOWN})
# Not moves: states in which a refusal of the attempt leads to READY or FAILED, however late it is recorded.
DECLINABLE = frozenset({State.DIALING, State.SENDING, State.AMBIGUOUS, State.UNKNOWN})
UNDECIDED = frozenset({State.READY, State.DIALING, State.SENDING})
# Not moves: states from which an owner may order once more, as a new chain of attempts.
RETRYABLE = frozenset({State.FAILED, State.EXPIRED, State.RESULT_LOST, State.UNKNOWN})
# Not moves: states in which a late result is delivered, because it was made and paid for.
RESULTLESS = frozenset(State) - {State.STORING, State.SUCCEEDED, State.CANCELED}
# Not moves: states in which the awaited task may prove to be another order's; the own answer was lost (AMBIGUOUS).
AWAITING = frozenset({State.RUNNING, State.STORING})
# The lease loop that works on a state; operators name parked work by it.
LOOP_OF: Mapping[State, str] = {
    State.READY: "submit",
    State.DIALING: "recover",
    State.SENDING: "recover",
    State.AMBIGUOUS: "recover",
    State.RUNNING: "poll",
    State.UNKNOWN: "poll",
    State.STORING: "copy",
}
INBOX = "callbacks"  # the loop that processes callbacks, by the name that operators use
# Where an awaited task is not polled any more: only its record, read because a callback came, can show a late success.
NOT_POLLED = frozenset({State.FAILED, State.EXPIRED, State.RESULT_LOST})
FINAL = frozenset(state for state, following in MOVES.items() if not following) | {State.UNKNOWN}


@dataclass(frozen=True)
class Draft:
    """An order as its caller wrote it: what is to be made."""

    model: str
    prompt: str
    image_uris: tuple[str, ...] = ()
    aspect_ratio: str = ""
    output_format: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why a generation ended without pictures."""

    reason: str
    message: str
    provider_code: int = 0


@dataclass(frozen=True)
class Output:
    """One picture of a generation. key names the stored copy; lost means that no copy can be made any more.

    file_stem is the random name of the copy's file, without extension. The store gives it to a new output, so that it
    is kept before the first copy and each repetition finds that one; it is empty in rows of older versions.
    """

    index: int
    source_uri: str
    key: str = ""
    content_type: str = ""
    size: int = 0
    error: str = ""
    lost: bool = False
    gone_ms: int = field(default=0, compare=False)
    """Since when neither its URL nor a fresh link nor the record read again led to it; internal, in no event."""
    file_stem: str = field(default="", compare=False)

    @property
    def settled(self) -> bool:
        """True when there is nothing left to copy."""
        return bool(self.key) or self.lost


@dataclass(frozen=True)
class Generation:
    """One order, its state and its results. Times are milliseconds since 1970 by the database's clock."""

    id: str
    draft: Draft
    family: str
    state: State = State.READY
    fence: int = 0
    tries: int = 0
    attempt_id: str = ""
    task_id: str = ""
    progress: int = 0
    outputs: tuple[Output, ...] = ()
    failure: Failure | None = None
    create_ms: int = 0
    update_ms: int = 0
    ready_ms: int = 0
    submit_ms: int = 0
    store_ms: int = 0
    complete_ms: int = 0
    now_ms: int = field(default=0, compare=False)
    """When it was claimed or read, by the same clock, so that ages need no other; 0 where it was not selected."""
    faults: int = field(default=0, compare=False)
    """How often in a row the work on it had failed when it was claimed; 0 where it was not."""

    def since(self, moment_ms: int) -> float:
        """Seconds from one of the generation's times until it was claimed, both by the database's clock."""
        return (self.now_ms - moment_ms) / 1000

    @property
    def visible(self) -> tuple[object, ...]:
        """The fields whose change callers can see; leases and counts are internal."""
        return self.state, self.progress, self.outputs, self.failure, self.task_id


@dataclass(frozen=True)
class Placed:
    """The answer to an order: its generation, and what only this answer tells."""

    generation: Generation
    joined: bool = False
    """True when the order's request id had made the generation before."""
    quota: Quota | None = None
    """The caller's daily quota when the order was stored; None when it was not counted."""


@dataclass(frozen=True)
class Attempt:
    """One try to have a generation made: at most one billed request, under one account."""

    id: str
    generation_id: str
    account: str
    key_print: str
    token_digest: str
    task_id: str = ""
    outcome: str = ""
    detail: str = ""
    create_ms: int = 0
    answer_ms: int = 0


@dataclass(frozen=True)
class Event:
    """One change of a generation, in commit order."""

    sequence: int
    id: str
    generation: Generation
    create_ms: int


@dataclass(frozen=True)
class TimelineFacts:
    """The facts of a generation's timeline: its events, its attempts and the callbacks that named them."""

    events: tuple[Event, ...]
    attempts: tuple[Attempt, ...]
    callbacks: tuple["Callback", ...]


REMINDER = "reminder"  # the kind of an inbox row that we wrote ourselves


@dataclass(frozen=True)
class Callback:
    """A verified callback in the inbox, or our own reminder of a task that its generation does not wait for."""

    id: str
    kind: str
    attempt_id: str
    task_id: str
    code: int
    tries: int = 0
    create_ms: int = 0
    verdict: str = ""
    news: int = 0
    """How often it was repeated; a reader closes or postpones it only if no repetition came since it was taken."""
    age_seconds: float = field(default=0.0, compare=False)
    """The callback's age when it was taken, by the database's clock."""
    faults: int = field(default=0, compare=False)
    """How often in a row its processing had failed when it was taken."""

    @property
    def proves_attempt(self) -> bool:
        """True for a callback with its attempt's token, which the provider knows from that order alone."""
        return bool(self.attempt_id) and self.kind != REMINDER
