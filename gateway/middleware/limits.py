"""Bounds requests before a route sees them: the size of bodies, how many a client has under way, the time for calls.

Each bound is a layer of its own; gateway/app.py lists them in order.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.rest import errors
from services.chassis import context
from services.chassis.client_address import GATHERED_BYTES, ClientLimit, client_of_scope
from services.chassis.errors import KawaiiError, Unavailable

Refuse = Callable[[KawaiiError], ASGIApp]
"""Makes the application that answers with an error."""

RETRY_SECONDS = 5.0  # an order counts until it is answered
CROWDED = "Too many large orders are being read at the moment. Upload the picture and order with its URL, or try again."

TIMEOUT_HEADER = "x-envoy-expected-rq-timeout-ms"  # how long Envoy waits, from the end of the request's body
MILLISECONDS = re.compile(r"[0-9]{1,9}")
ANSWER_SECONDS = 0.25  # kept back to render the answer and bring it to the edge


class BodyLimit:
    """Limits bodies to `default` bytes, and below the paths of `limits` to their own."""

    def __init__(self, app: ASGIApp, default: int, limits: Mapping[str, int]) -> None:
        self._app = app
        self._default = default
        self._limits = tuple(limits.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on with its body counted."""
        limit = self._limit(scope["path"])
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            await errors.answer(errors.too_large(limit))(scope, receive, send)
        else:
            await self._app(scope, limited(receive, limit), send)

    def _limit(self, path: str) -> int:
        return next((limit for prefix, limit in self._limits if path.startswith(prefix)), self._default)


def limited(receive: Receive, limit: int) -> Receive:
    """A `receive` that raises InvalidArgument (PAYLOAD_TOO_LARGE) at the first byte beyond the limit."""
    size = 0

    async def receiver() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise errors.too_large(limit)
        return message

    return receiver


class ClientLimits:
    """Counts each request of a client until it is answered, by the kind whose prefix its path has, or by `others`.

    A request whose body streams counts as `streams` instead of `others`: its client may delay it as long as it likes.
    """

    def __init__(
        self,
        app: ASGIApp,
        kinds: Sequence[tuple[str, ClientLimit]],
        streams: ClientLimit,
        others: ClientLimit,
        refuse: Refuse,
    ) -> None:
        self._app, self._kinds, self._streams, self._others, self._refuse = app, kinds, streams, others, refuse
        self._prefixes = tuple(prefix for prefix, _ in kinds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        limit = self._limit(scope)
        client = client_of_scope(scope)
        if not limit.take(client):
            await self._refuse(limit.refusal())(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            limit.give_back(client)

    def _limit(self, scope: Scope) -> ClientLimit:
        path = scope["path"]
        if path.startswith(self._prefixes):
            return next(limit for prefix, limit in self._kinds if path.startswith(prefix))
        return self._streams if has_streaming_body(scope) else self._others


def has_streaming_body(scope: Scope) -> bool:
    """Whether Envoy did not gather the body, by the same rule as its routes have.

    In one pass over the raw headers: every request is asked, also those that the response cache answers.
    """
    length = b""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            length = value
    return length.isdigit() and int(length) > GATHERED_BYTES


class LargeOrders:
    """Reads at most `places` bodies of more than `threshold` bytes at once below these paths, `own` of one client."""

    def __init__(self, app: ASGIApp, threshold: int, places: int, own: int, paths: Sequence[str]) -> None:
        self._app = app
        self._threshold = threshold
        self._free = places
        self._own = ClientLimit(own, "large orders")
        self._paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. It counts from the moment its body is large until it is answered."""
        if scope["path"].startswith(self._paths):
            await self._watched(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        client, size, held = client_of_scope(scope), 0, False

        async def receiver() -> Message:
            nonlocal size, held
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._threshold and not held:
                self._take(client)
                held = True
            return message

        try:
            await self._app(scope, receiver, send)
        finally:
            if held:
                self._free += 1
                self._own.give_back(client)

    def _take(self, client: str) -> None:
        """Count one more large order.

        Raises:
            Unavailable: as many as may are under way.
            ResourceExhausted: the client holds as many as it may.
        """
        if self._free < 1:
            raise Unavailable(CROWDED, "TOO_MANY_LARGE_ORDERS", retry_after=RETRY_SECONDS)
        if not self._own.take(client):
            raise self._own.refusal()
        self._free -= 1


class Deadline:
    """Sets the deadline of all calls of a request from Envoy's header; without it each call has its default."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its time running, or about to run once its body has arrived."""
        headers = Headers(scope=scope)
        given = headers.get(TIMEOUT_HEADER, "")
        if MILLISECONDS.fullmatch(given):
            seconds = int(given) / 1000 - ANSWER_SECONDS
            if has_body(headers):
                receive = once_read(receive, seconds)
            else:
                run_out_in(seconds)
        await self._app(scope, receive, send)


def has_body(headers: Headers) -> bool:
    """Whether a body follows the headers."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def run_out_in(seconds: float) -> None:
    """Set the deadline of the calls that follow."""
    context.deadline.set(time.monotonic() + seconds)


def once_read(receive: Receive, seconds: float) -> Receive:
    """A `receive` that sets the deadline when the last piece of the body has arrived."""

    async def receiver() -> Message:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            run_out_in(seconds)
        return message

    return receiver
