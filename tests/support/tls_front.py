"""TLS before a real engine whose wheel was built without it (PostgreSQL's, Valkey's), as stunnel would be."""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Connect = Callable[[], Awaitable[tuple[StreamReader, StreamWriter]]]
SSL_REQUEST = bytes.fromhex("00000008 04d2162f")  # of PostgreSQL's protocol
CHUNK_BYTES = 65_536


@asynccontextmanager
async def tls_front(context: ssl.SSLContext, connect: Connect, *, asked: bytes = b"") -> AsyncIterator[int]:
    """The port of a server that passes what it decrypts on to the engine that `connect` connects to.

    With `asked` the client first asks for TLS by these bytes, and is answered S, as PostgreSQL has it.
    """

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if asked:
                assert await reader.readexactly(len(asked)) == asked
                writer.write(b"S")
            await writer.start_tls(context)
            inner_reader, inner_writer = await connect()
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, family=2)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pass(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()
