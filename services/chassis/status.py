"""The one table between our errors and gRPC status codes, and google.rpc details in both directions."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from services.chassis import errors

DOMAIN = "kawaii"
DETAILS_KEY = "grpc-status-details-bin"
T = TypeVar("T")
Metadata = tuple[tuple[str, str | bytes], ...]

CODES: dict[type[errors.KawaiiError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
ERRORS = {code: kind for kind, code in CODES.items()}


def code_of(error: errors.KawaiiError) -> grpc.StatusCode:
    """The status code of an error."""
    return CODES[type(error)]


def details_of(error: errors.KawaiiError) -> Metadata:
    """Trailing metadata with google.rpc.Status: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    status = status_pb2.Status(code=code_of(error).value[0], message=error.message)
    for detail in _details(error):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return ((DETAILS_KEY, status.SerializeToString()),)


def _details(error: errors.KawaiiError) -> Iterator[message.Message]:
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    if field := error.metadata.get("field"):
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=error.message)
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


# Our services always send details: without any, these are what gRPC says of a connection that died under a call, and of
# a stream that an overloaded server reset.
TORN = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)


def has_details(failure: aio.AioRpcError) -> bool:
    """Whether one of our services raised it; gRPC's own failures carry no details."""
    return any(key == DETAILS_KEY for key, _ in failure.trailing_metadata() or ())


def from_rpc(failure: aio.AioRpcError) -> errors.KawaiiError:
    """Rebuild the error that another process raised; one without our details keeps its code's class."""
    status = _status_of(failure)
    if status is None:
        kind = errors.Unavailable if failure.code() in TORN else ERRORS.get(failure.code(), errors.Internal)
        return kind(_plain_message(failure))
    kind = ERRORS.get(failure.code(), errors.Internal)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    has_retry = False
    for detail in status.details:
        detail.Unpack(info)
        has_retry = detail.Unpack(retry) or has_retry
    delay = retry.retry_delay.ToMilliseconds() / 1000 if has_retry else None
    return kind(status.message, info.reason or None, metadata=info.metadata, retry_after=delay)


def _status_of(failure: aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in failure.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return None


def _plain_message(failure: aio.AioRpcError) -> str:
    """A sentence for failures that gRPC made itself: its own text would show our addresses."""
    if failure.code() in (grpc.StatusCode.UNAVAILABLE, *TORN):
        return "A part of the service is not reachable at the moment. Try again shortly."
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "The service did not answer in time. Try again shortly."
    return "The service could not handle the request."


@contextmanager
def translated() -> Iterator[None]:
    """Turn gRPC failures of a remote call into our errors, at the seam and nowhere else."""
    try:
        yield
    except aio.AioRpcError as failure:
        raise from_rpc(failure) from failure


async def translated_stream(stream: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same for a stream's messages."""
    with translated():
        async for item in stream:
            yield item
