"""Context variables of the RPC that is being answered: its request id and its deadline."""

import time
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def time_remaining() -> float | None:
    """Seconds until the current call's deadline on the monotonic clock; None outside a call."""
    end = deadline.get()
    return None if end is None else end - time.monotonic()


def patience(most: float) -> float:
    """How many seconds to wait for something: at most so many, and not beyond the current call's deadline."""
    left = time_remaining()
    return most if left is None else min(most, max(0.0, left))


KEY, DIGEST, REPLAYED = "idempotency-key", "idempotency-digest", "idempotent-replayed"
"""Metadata of a call that may be repeated: its request's name, what a repetition must repeat, and whether it was."""
