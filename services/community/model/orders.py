"""Orders of pictures, the answers of generation, and how a generation's status changes an order."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class OrderState(StrEnum):
    """The state of an order; the proto's comments explain each."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"


class Hold(StrEnum):
    """The state of an order's credit hold."""

    NONE = "NONE"
    HELD = "HELD"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"


ORDERS = "orders"  # the lease loop of orders, whose work may be parked
PARKED = "PARKED"  # reason of an order whose work is parked
PARKED_SENTENCE = "A fault of this site keeps your order from being carried on. It is tried again once that is mended."
ENDED = frozenset({OrderState.SUCCEEDED, OrderState.FAILED, OrderState.TIMED_OUT})


@dataclass(frozen=True)
class Request:
    """The picture to make; image_refs are object keys of ours or URLs of others."""

    prompt: str
    model: str
    aspect_ratio: str = ""
    output_format: str = ""
    image_refs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quota:
    """The state of a caller's daily quota: orders a day, orders left today, and milliseconds until the next day."""

    limit: int
    remaining: int
    reset_ms: int


@dataclass(frozen=True)
class GenerationStatus:
    """The status of a generation. object_key names the stored picture once it SUCCEEDED."""

    generation_id: str
    state: OrderState
    task_id: str = ""
    object_key: str = ""
    reason: str = ""
    message: str = ""
    event_sequence: int = 0
    """The sequence in generation's outbox; 0 when the status was read by id."""
    quota: Quota | None = None
    """The state of the daily quota of the user who ordered, when this order was just counted."""


@dataclass(frozen=True)
class UnreadableEvent:
    """An event that our own code could not read."""

    generation_id: str
    event_sequence: int
    error: Exception


@dataclass(frozen=True)
class Refused:
    """A definite refusal: nothing was ordered or billed. A passing one may be tried again."""

    reason: str
    message: str
    error: Exception
    passing: bool = False
    faulty: bool = False
    """True when the order itself is wrong, so that it can never be taken."""


@dataclass(frozen=True)
class Unclear:
    """No answer: the order may have been taken. Sending it again under the same id is safe."""


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
    faults: int = field(default=0, compare=False)
    """How often in a row the work on it had failed when it was claimed; 0 where it was not."""

    def after(self, status: GenerationStatus) -> "Order":
        """The order after a status; a repeated or late status changes nothing.

        SUCCEEDED is accepted in every state and is final. A failure is not undone by an older status.
        """
        known = replace(self, generation_id=status.generation_id, task_id=status.task_id or self.task_id)
        if self.state is OrderState.SUCCEEDED or not self._accepts(status.state):
            return known
        return replace(known, state=status.state, reason=status.reason, message=status.message)

    def _accepts(self, state: OrderState) -> bool:
        match state:
            case OrderState.SUCCEEDED:
                return True
            case OrderState.FAILED:
                return self.state is not OrderState.FAILED
            case OrderState.TIMED_OUT:
                return self.state not in ENDED
            case _:
                return self.state is OrderState.PENDING
