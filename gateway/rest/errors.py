"""The one table from errors to HTTP: status, code and sentence, as {success:false, error, code, message}."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

import structlog
from grpc import aio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from gateway.rest import rate_limits
from gateway.rest.responses import Json, template
from services.chassis import errors
from services.chassis.client_address import client_of_scope
from services.chassis.status import from_rpc

RETRY_SECONDS = 2  # when an error that will pass does not say when: the launcher has a service back by then

STATUS: dict[type[errors.KawaiiError], HTTPStatus] = {
    errors.InvalidArgument: HTTPStatus.BAD_REQUEST,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.PermissionDenied: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.AlreadyExists: HTTPStatus.CONFLICT,
    errors.FailedPrecondition: HTTPStatus.CONFLICT,
    errors.OutOfRange: HTTPStatus.BAD_REQUEST,
    errors.Aborted: HTTPStatus.CONFLICT,
    errors.ResourceExhausted: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unimplemented: HTTPStatus.NOT_IMPLEMENTED,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    errors.DataLoss: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.Internal: HTTPStatus.INTERNAL_SERVER_ERROR,
}

# Reasons whose HTTP status is finer than that of their class.
STATUS_OF_REASON = {
    "PROVIDER_REJECTED": HTTPStatus.UNPROCESSABLE_ENTITY,
    "IDEMPOTENCY_KEY_REUSED": HTTPStatus.UNPROCESSABLE_ENTITY,
    "STORAGE_FULL": HTTPStatus.INSUFFICIENT_STORAGE,
    "FILE_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "PAYLOAD_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "UNSUPPORTED_MEDIA_TYPE": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "INSUFFICIENT_CREDITS": HTTPStatus.PAYMENT_REQUIRED,
    "METHOD_NOT_ALLOWED": HTTPStatus.METHOD_NOT_ALLOWED,
    "PRECONDITION_FAILED": HTTPStatus.PRECONDITION_FAILED,
    "RANGE_NOT_SATISFIABLE": HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "CALLER_NOT_ALLOWED": HTTPStatus.INTERNAL_SERVER_ERROR,  # our own certificate is wrong, not the client's identity
    "SOURCE_UNAVAILABLE": HTTPStatus.FAILED_DEPENDENCY,  # the client's choice of server, and none of ours, is away
}

# What waiting may help.
PASSING = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.FAILED_DEPENDENCY)

# What the security log holds: no user, no permission, too often, and addresses that our fetcher must not reach.
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
REFUSED_REASONS = ("URL_NOT_ALLOWED", "IDEMPOTENCY_KEY_REUSED")

# What the router itself refuses.
ROUTING = {
    HTTPStatus.NOT_FOUND: errors.NotFound("There is nothing at this path. Check the address."),
    HTTPStatus.METHOD_NOT_ALLOWED: errors.InvalidArgument(
        "This path does not take this method. The Allow header names those it takes.", "METHOD_NOT_ALLOWED"
    ),
}
UNREADABLE = errors.InvalidArgument("The request could not be read.")
UNEXPECTED = errors.Internal("Something went wrong on our side. Try again; if it persists, tell the operator.")

logger = structlog.get_logger()


def too_large(limit: int) -> errors.InvalidArgument:
    """The error for a body of more than `limit` bytes."""
    return errors.InvalidArgument(
        f"The request is too large: at most {limit} bytes are taken here.", "PAYLOAD_TOO_LARGE"
    )


def status_of(error: errors.KawaiiError) -> HTTPStatus:
    """The HTTP status of an error."""
    return STATUS_OF_REASON.get(error.reason) or STATUS[type(error)]


def headers_of(error: errors.KawaiiError, status: HTTPStatus) -> dict[str, str]:
    """Headers of a failure: it is never cached or indexed, and a temporary one says when to try again."""
    headers = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex", **rate_limits.of_refusal(error)}
    if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        headers["Content-Range"] = f"bytes */{error.metadata['size']}"
    if status in PASSING or error.retry_after:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after or RETRY_SECONDS)))
    return headers


def answer(error: errors.KawaiiError, extra: Mapping[str, object] | None = None) -> Json:
    """Render an error; both front-end families find their fields (docs/rest.md#failures)."""
    status = status_of(error)
    body = {"success": False, "error": error.message, "code": error.reason, "message": error.message, **(extra or {})}
    return Json(body, status, headers_of(error, status))


def _log_refusal(request: Request, error: errors.KawaiiError) -> None:
    """Log a refusal that operators look for in an attack: user, address, method and route.

    Nothing that was sent is logged: no token, no prompt, no path, which may hold a token.
    """
    if (status := status_of(error)) in REFUSED or error.reason in REFUSED_REASONS:
        logger.warning(
            "request_refused",
            reason=error.reason,
            status=int(status),
            who=getattr(request.state, "person_id", ""),
            client=client_of_scope(request.scope),
            method=request.method,
            route=template(request.scope),
        )


def _refused(request: Request, error: errors.KawaiiError) -> Response:
    """The answer, with the state of the client's bucket; one that says which limit is used up says no more."""
    response = answer(error)
    return response if "RateLimit" in response.headers else rate_limits.add_bucket(request, response)


async def _from_service(request: Request, failure: Exception) -> Response:
    """Render what a service answered."""
    error = from_rpc(cast("aio.AioRpcError", failure))
    _log_refusal(request, error)
    return _refused(request, error)


async def _from_us(request: Request, failure: Exception) -> Response:
    """Render what the gateway refused itself."""
    error = cast("errors.KawaiiError", failure)
    _log_refusal(request, error)
    return _refused(request, error)


async def _from_router(_request: Request, failure: Exception) -> Response:
    """Render what the router refused, with its headers; a set's order is chance, so Allow is sorted."""
    refusal = cast("HTTPException", failure)
    response = answer(ROUTING.get(HTTPStatus(refusal.status_code), UNREADABLE))
    for name, value in (refusal.headers or {}).items():
        response.headers[name] = ", ".join(sorted(value.split(", "))) if name == "Allow" else value
    return response


async def _from_nobody(_request: Request, _failure: Exception) -> Response:
    """Answer a client that left while it was sending: nobody reads this, but the log stays clean."""
    return answer(UNREADABLE)


async def _unexpected(_request: Request, failure: Exception) -> Response:
    """Hide a bug of ours behind a sentence; Starlette raises it again, so that the server logs its trace."""
    logger.error("unexpected_error", error=type(failure).__name__)
    return answer(UNEXPECTED)


HANDLERS: dict[type[Exception] | int, ExceptionHandler] = {
    aio.AioRpcError: _from_service,
    errors.KawaiiError: _from_us,
    HTTPException: _from_router,
    ClientDisconnect: _from_nobody,
    Exception: _unexpected,
}
