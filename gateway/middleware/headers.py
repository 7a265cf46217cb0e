"""Lets a layer change an answer's headers as they pass."""

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send


def on_start(send: Send, change: Callable[[MutableHeaders], None]) -> Send:
    """A `send` that applies `change` to the headers of the answer."""

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            change(MutableHeaders(scope=message))
        await send(message)

    return sender
