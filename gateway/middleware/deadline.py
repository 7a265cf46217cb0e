"""Notes by when the edge wants an answer, so that our calls fail, and can be explained, before it gives up on us.

It also keeps us from placing an order for a client who was told already that it failed.
"""

import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis import context

HEADER = "x-envoy-expected-rq-timeout-ms"  # how long Envoy waits, from the end of the request's body
MILLISECONDS = re.compile(r"[0-9]{1,9}")
ANSWER_SECONDS = 0.25  # kept back to render the answer and bring it to the edge


class Deadline:
    """Bounds all calls of a request together; without an edge before us each call has its own default."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its time running, or about to run once its body has arrived."""
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
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
