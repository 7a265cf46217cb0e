"""Outgoing channels: the request id goes along, and the deadline of the call we answer bounds the calls we make."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from services.chassis import context
from services.chassis.errors import DeadlineExceeded
from services.chassis.interceptors import REQUEST_ID_KEY
from services.chassis.server import MAX_MESSAGE_BYTES, WINDOW_BYTES

DEFAULT_SECONDS = 10.0  # what a call may take when neither the caller nor its own caller says
HOP_SECONDS = 0.05  # kept back at each hop, so that the inner call fails first and can be explained
LEAST_SECONDS = 0.02  # not worth starting below this
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),  # a restarted service is found again at once
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),  # nothing is retried in two layers
)
Details = aio.ClientCallDetails
Continuation = Callable[[Details, Any], Awaitable[Any]]


def timeout_of(asked: float | None) -> float:
    """Seconds a call may take: what was asked, within what the current call has left.

    Raises:
        DeadlineExceeded: less than LEAST_SECONDS remain.
    """
    remaining = context.time_remaining()
    if remaining is None:
        return DEFAULT_SECONDS if asked is None else asked
    left = remaining - HOP_SECONDS
    if left < LEAST_SECONDS:
        raise DeadlineExceeded("There was no time left to ask the next service. Try again.")
    return left if asked is None else min(asked, left)


def outgoing(details: Details) -> Details:
    """The call's details with our deadline and request id."""
    return marked(details, timeout_of(details.timeout), metadata_of(details))


def metadata_of(details: Details) -> aio.Metadata:
    """The call's metadata with the request id of the call we answer."""
    metadata = aio.Metadata(*(details.metadata or ()))
    if identifier := context.request_id.get():
        metadata.set_all(REQUEST_ID_KEY, [identifier])
    return metadata


def marked(details: Details, timeout: float | None, metadata: aio.Metadata) -> Details:
    """A copy of the details with another timeout and metadata."""
    return Details(details.method, timeout, metadata, details.credentials, details.wait_for_ready)


class UnaryUnary(aio.UnaryUnaryClientInterceptor):
    """Bounds and marks calls with one request and one answer."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Details, request: Any) -> Any:
        """Pass the call on with our details."""
        return await continuation(outgoing(client_call_details), request)


class StreamUnary(aio.StreamUnaryClientInterceptor):
    """Bounds and marks calls that upload."""

    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Details, request_iterator: Any
    ) -> Any:
        """Pass the call on with our details."""
        return await continuation(outgoing(client_call_details), request_iterator)


class UnaryStream(aio.UnaryStreamClientInterceptor):
    """Marks calls that stream answers; they live as long as their reader, so they get no default deadline."""

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Details, request: Any) -> Any:
        """Pass the call on with the request id."""
        details = client_call_details
        return await continuation(marked(details, details.timeout, metadata_of(details)), request)


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[aio.Channel]:
    """Open a channel to a service; it connects when first used and reconnects by itself."""
    interceptors = [UnaryUnary(), StreamUnary(), UnaryStream()]
    async with aio.insecure_channel(address, options=OPTIONS, interceptors=interceptors) as channel:
        yield channel
