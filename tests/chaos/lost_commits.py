"""A proxy before PostgreSQL that loses replies to COMMIT: the server commits, the client never hears of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.chaos.proxy import CHUNK_BYTES, abort
from tests.chaos.stack import dice_of

COMMIT = b"COMMIT"  # in a query message of the client; asyncpg and SQLAlchemy send `COMMIT;` as text


class CommitProxy:
    """Relays to a port of this machine; `share` of all commits lose their reply and their connection."""

    def __init__(self, upstream: int, seed: str) -> None:
        self.share, self.lost, self.port = 0.0, 0, 0
        self._upstream = upstream
        self._dice = dice_of(seed, "commits")

    @asynccontextmanager
    async def open(self) -> AsyncIterator["CommitProxy"]:
        """Listen until the context ends."""
        links: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            links.add(task)
            try:
                await self._relay(reader, client)
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                abort(client)
                links.discard(task)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for link in links:
                link.cancel()
            await asyncio.gather(*links, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self._upstream)
        back = asyncio.create_task(pump(answers, client))
        try:
            while data := await reader.read(CHUNK_BYTES):
                if COMMIT in data and self._dice.random() < self.share:
                    await self._lose(back, data, answers, server)
                    return
                server.write(data)
                await server.drain()
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            abort(server)

    async def _lose(
        self, back: "asyncio.Task[None]", data: bytes, answers: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        """Pass the commit on, wait until the server has answered, and tell nobody."""
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)
        server.write(data)
        await server.drain()
        await answers.read(CHUNK_BYTES)
        self.lost += 1


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass one direction on until it ends."""
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
