"""The errors a service may raise: each crosses the wire whole and is rendered for people at the edge only.

KawaiiError                  message for clients, reason for machines
├── InvalidArgument          the caller's fault, and repeating it will not help
├── Unauthenticated          nobody is signed in
├── PermissionDenied         signed in, or holding a token, but not allowed
├── NotFound                 no such thing
├── AlreadyExists            a thing with this identity exists and differs
├── FailedPrecondition       the thing is not in a state for this
├── OutOfRange               it asks for what was there once, or is not there yet
├── Aborted                  lost a race; trying again may help
├── ResourceExhausted        a limit was reached; retry_after says when to come back
├── Unimplemented            not offered here
├── Unavailable              a part is down or draining; retry_after says when to come back
├── DeadlineExceeded         it took longer than the caller allowed
├── DataLoss                 something that should be there is gone
└── Internal                 our fault: the message is public, the cause is for the log
"""

from collections.abc import Mapping


class KawaiiError(Exception):
    """Base of all. The message is shown to clients: it says whose fault it is and what to do."""

    reason = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str,
        reason: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


class InvalidArgument(KawaiiError):
    """The request can never succeed as it is. metadata may name the `field`."""

    reason = "INVALID_INPUT"


class Unauthenticated(KawaiiError):
    """No valid identity came with the request."""

    reason = "AUTH_REQUIRED"


class PermissionDenied(KawaiiError):
    """The identity or token does not allow this."""

    reason = "FORBIDDEN"


class NotFound(KawaiiError):
    """There is no such thing, or not for this caller."""

    reason = "NOT_FOUND"


class AlreadyExists(KawaiiError):
    """Something else holds this identity."""

    reason = "ALREADY_EXISTS"


class FailedPrecondition(KawaiiError):
    """The thing is not in a state in which this can be done."""

    reason = "FAILED_PRECONDITION"


class OutOfRange(KawaiiError):
    """The request asks for what lies before the first or beyond the last."""

    reason = "OUT_OF_RANGE"


class Aborted(KawaiiError):
    """A concurrent change won."""

    reason = "CONFLICT"


class ResourceExhausted(KawaiiError):
    """A limit was reached."""

    reason = "RATE_LIMIT"


class Unimplemented(KawaiiError):
    """This deployment does not offer it."""

    reason = "UNIMPLEMENTED"


class Unavailable(KawaiiError):
    """A part we need is down; what was accepted is safe."""

    reason = "UNAVAILABLE"


class DeadlineExceeded(KawaiiError):
    """The caller's time ran out."""

    reason = "DEADLINE_EXCEEDED"


class DataLoss(KawaiiError):
    """Something that should be there is gone."""

    reason = "DATA_LOSS"


class Internal(KawaiiError):
    """Our fault. Raise it `from` the cause: clients see the message, the log sees the cause."""

    reason = "INTERNAL_ERROR"


def invalid_field(field: str, message: str, reason: str | None = None) -> InvalidArgument:
    """The error that names the field at fault."""
    return InvalidArgument(message, reason, metadata={"field": field})
