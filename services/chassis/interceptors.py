"""The interceptors of every server, as one list: request id, access log, metrics, errors, deadline."""

import asyncio
import inspect
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import grpc
import structlog
from grpc import aio
from prometheus_client import Counter, Histogram

from services.chassis import context, errors, status
from services.chassis.names import new_id

Context = aio.ServicerContext[Any, Any]
Around = Callable[[str, Any, Context], AbstractAsyncContextManager[None]]
"""Of a method, its request (an iterator where the client streams) and the call."""

REQUEST_ID_KEY = "x-request-id"
SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
MAX_DEADLINE_SECONDS = 130.0  # above the longest honest call: an import with its retries
TOO_MANY_STREAMS = (
    "Too many calls are being answered as streams at the moment. Try again shortly, or ask instead of watching."
)
STREAMS_RETRY_SECONDS = 5.0  # until some watchers have left
EARLY_SECONDS = 0.05  # a caller whose time is up hangs up, and we may hear that before our clock says so
REFUSED_STREAM_SECONDS = 5.0  # for what the sender of a refused stream still has on its way
QUIET_METHODS = ("/grpc.health.v1.Health/", "/grpc.reflection.")

# By the names that dashboards for gRPC expect.
METHOD = ("grpc_service", "grpc_method")
STARTED = Counter("grpc_server_started_total", "RPCs that were begun.", METHOD)
HANDLED = Counter("grpc_server_handled_total", "RPCs that ended, by the code they ended with.", (*METHOD, "grpc_code"))
SECONDS = Histogram("grpc_server_handling_seconds", "How long RPCs took; a stream lasts as long as its reader.", METHOD)

logger = structlog.get_logger()


@asynccontextmanager
async def request_id(_method: str, _request: Any, call: Context) -> AsyncIterator[None]:
    """Take the caller's request id, or make one, for the logs and for the calls we make."""
    metadata = dict(call.invocation_metadata() or ())
    given = str(metadata.get(REQUEST_ID_KEY, ""))
    identifier = given if SAFE_REQUEST_ID.fullmatch(given) else new_id("req")
    context.request_id.set(identifier)
    with structlog.contextvars.bound_contextvars(request_id=identifier):
        yield


@asynccontextmanager
async def access_log(method: str, _request: Any, call: Context) -> AsyncIterator[None]:
    """Write one line per RPC: method, code, milliseconds."""
    start = time.perf_counter()
    answered = False
    try:
        yield
        answered = True
    finally:
        if not method.startswith(QUIET_METHODS):
            took = round((time.perf_counter() - start) * 1000, 1)
            logger.info("rpc", method=method, code=final_code(call, answered=answered).name, ms=took)


@asynccontextmanager
async def measured(method: str, _request: Any, call: Context) -> AsyncIterator[None]:
    """Count the call, how it ended and how long it took."""
    service, _, name = method.removeprefix("/").rpartition("/")  # of /package.Service/Method, as on the wire
    start = time.perf_counter()
    answered = False
    STARTED.labels(service, name).inc()
    try:
        yield
        answered = True
    finally:
        HANDLED.labels(service, name, final_code(call, answered=answered).name).inc()
        SECONDS.labels(service, name).observe(time.perf_counter() - start)


def final_code(call: Context, *, answered: bool) -> grpc.StatusCode:
    """How a call ended. grpc notes no code when all went well, nor when the caller hung up or ran out of time."""
    noted: Any = call.code()
    if noted or answered:
        return noted or grpc.StatusCode.OK
    left = call.time_remaining()
    late = left is not None and left < EARLY_SECONDS
    return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


@asynccontextmanager
async def error_status(method: str, _request: Any, call: Context) -> AsyncIterator[None]:
    """End the call with the status of the error that was raised; what is not ours is INTERNAL and stays in the log."""
    try:
        yield
    except errors.KawaiiError as error:
        if isinstance(error, errors.Internal):
            logger.exception("internal_error", method=method)
        await call.abort(status.code_of(error), error.message, status.details_of(error))
    except (aio.AbortError, asyncio.CancelledError):
        raise
    except Exception:
        logger.exception("unexpected_error", method=method)
        hidden = errors.Internal("Something went wrong on our side. Try again; if it persists, tell the operator.")
        await call.abort(status.code_of(hidden), hidden.message, status.details_of(hidden))


@asynccontextmanager
async def deadline(_method: str, _request: Any, call: Context) -> AsyncIterator[None]:
    """Note by when the call must have answered, so that the calls we make on its behalf end in time too.

    A caller that names no deadline, as watchers do, leaves each of our calls its own default.
    """
    if (remaining := call.time_remaining()) is not None:
        context.deadline.set(time.monotonic() + min(remaining, MAX_DEADLINE_SECONDS))
    yield


class StreamLimit:
    """Limits how many streaming calls run at once: watchers stay, and would use up the server's calls."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    @asynccontextmanager
    async def __call__(self, method: str, _request: Any, _call: Context) -> AsyncIterator[None]:
        """Run a streaming call. Raises ResourceExhausted when the limit is reached (reason TOO_MANY_STREAMS).

        The health streams that each connection of a client has are not counted.
        """
        if method.startswith(QUIET_METHODS):
            yield
            return
        if self._free < 1:
            raise errors.ResourceExhausted(TOO_MANY_STREAMS, "TOO_MANY_STREAMS", retry_after=STREAMS_RETRY_SECONDS)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Interceptor(aio.ServerInterceptor):
    """Wraps an async context manager around all four shapes of RPC, or around those whose answer is a stream."""

    def __init__(self, around: Around, *, streams_only: bool = False) -> None:
        self._around = around
        self._streams_only = streams_only

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Replace the handler's function by one that runs inside the context manager."""
        handler = await continuation(handler_call_details)
        if handler is None or (self._streams_only and not handler.response_streaming):
            return handler
        wrap = self._stream if handler.response_streaming else self._unary
        shape = f"{_word(handler.request_streaming)}_{_word(handler.response_streaming)}"
        return handler._replace(**{shape: wrap(str(handler_call_details.method), getattr(handler, shape))})

    def _unary(self, method: str, function: Any) -> Any:
        async def call(request: Any, call: Context) -> Any:
            async with self._around(method, request, call):
                return await function(request, call)

        return call

    def _stream(self, method: str, function: Any) -> Any:
        async def call(request: Any, call: Context) -> Any:
            async with self._around(method, request, call):
                answer = function(request, call)
                if inspect.isawaitable(answer):  # a handler that writes by itself, as grpc's own Health.Watch does
                    await answer
                    return
                async for response in answer:
                    yield response

        return call


class RefusedStreams(aio.ServerInterceptor):
    """Reads a client's stream to its end before an error answers it.

    A client of grpc's asyncio API that is writing when the call ends loses the server's status: it reports INTERNAL in
    its place (https://github.com/grpc/grpc/issues/36066). Whoever sends for longer than `seconds` takes that risk.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Replace the function of a handler that takes a stream and gives one answer."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler.request_streaming or handler.response_streaming:
            return handler
        function = handler.stream_unary

        async def call(requests: AsyncIterator[Any], call: Context) -> Any:
            try:
                return await function(requests, call)
            except Exception:
                await self._drain(requests)
                raise

        return handler._replace(stream_unary=call)

    async def _drain(self, requests: AsyncIterator[Any]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                async for _ in requests:
                    pass


def _word(streaming: bool) -> str:  # noqa: FBT001 - grpc's own flag
    return "stream" if streaming else "unary"


# Outermost first: the log line and the metrics see the final code, and errors are rendered before them.
INTERCEPTORS: tuple[Around, ...] = (request_id, access_log, measured, error_status, deadline)
