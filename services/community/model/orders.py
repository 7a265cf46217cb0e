"""What an order of a picture is, what generation may say of it, and what each word of it changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class OrderState(StrEnum):
    """Where an order stands; the proto's comments explain each."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"


class Hold(StrEnum):
    """What became of the credits of an order."""

    NONE = "NONE"
    HELD = "HELD"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"


ENDED = frozenset({OrderState.SUCCEEDED, OrderState.FAILED, OrderState.TIMED_OUT})


@dataclass(frozen=True)
class Request:
    """What somebody wants made; image_refs are keys of ours or URLs of others."""

    prompt: str
    model: str
    aspect_ratio: str = ""
    output_format: str = ""
    image_refs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quota:
    """Where a caller stands: orders a day, orders left today, and milliseconds until the next day."""

    limit: int
    remaining: int
    reset_ms: int


@dataclass(frozen=True)
class Told:
    """What generation says of a generation. The key names the stored picture once it SUCCEEDED."""

    generation_id: str
    state: OrderState
    task_id: str = ""
    object_key: str = ""
    reason: str = ""
    message: str = ""
    event_sequence: int = 0
    """Its place in generation's outbox; 0 when it was asked for."""
    quota: Quota | None = None
    """Where the daily quota of whoever ordered stands now, when this order was just counted."""


@dataclass(frozen=True)
class Unread:
    """An event that our own code could not read."""

    generation_id: str
    event_sequence: int
    error: Exception


@dataclass(frozen=True)
class Refused:
    """A definite no: nothing was ordered, and nothing billed. A passing one may be tried again."""

    reason: str
    message: str
    error: Exception
    passing: bool = False
    faulty: bool = False
    """True when the order itself is wrong, so that it can never be taken."""


@dataclass(frozen=True)
class Unclear:
    """No answer: it may have been taken. Sending it again under the same id is safe."""


@dataclass(frozen=True)
class Order:
    """One order of a picture. Its id is the request id that generation knows it by; times are epoch ms."""

    id: str
    artwork_id: str
    user_id: str
    request: Request
    state: OrderState = OrderState.PENDING
    generation_id: str = ""
    task_id: str = ""
    reason: str = ""
    message: str = ""
    cost: int = 0
    hold: Hold = Hold.NONE
    create_ms: int = 0
    complete_ms: int = 0
    tries: int = 0
    request_key: str = ""
    """The caller's id of the request that ordered it; empty where there was none, or where it may be used again."""
    request_digest: str = ""
    quota_subjects: tuple[str, ...] = ()
    """Whom generation's daily quotas count it for; kept until generation has answered, since the order may be placed
    again until then. They may be addresses."""

    def after(self, told: Told) -> "Order":
        """The order once this was heard; hearing it again, or late, changes nothing.

        Success is believed whenever it comes, and is the last word. A failure is not taken back by older news.
        """
        known = replace(self, generation_id=told.generation_id, task_id=told.task_id or self.task_id)
        if self.state is OrderState.SUCCEEDED or not self._believes(told.state):
            return known
        return replace(known, state=told.state, reason=told.reason, message=told.message)

    def _believes(self, state: OrderState) -> bool:
        match state:
            case OrderState.SUCCEEDED:
                return True
            case OrderState.FAILED:
                return self.state is not OrderState.FAILED
            case OrderState.TIMED_OUT:
                return self.state not in ENDED
            case _:
                return self.state is OrderState.PENDING
