"""uvicorn's server, which also ends open streams when it stops; else they would delay it until its time limit."""

import asyncio
import socket

import uvicorn


class Server(uvicorn.Server):
    """Sets `leaving` when it was asked to stop."""

    def __init__(self, config: uvicorn.Config, leaving: asyncio.Event) -> None:
        super().__init__(config)
        self._leaving = leaving

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the streams end, then stop as usual."""
        self._leaving.set()
        await super().shutdown(sockets)
