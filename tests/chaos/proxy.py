"""TCP proxies that inject faults: one before the provider, which also records every call, and one before PostgreSQL.

The names of the faults (toxics) are those of Toxiproxy: latency, slicer, limit_data, timeout, reset_peer.
"""

import asyncio
import json
import random
import re
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 65_536
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST, not FIN
TOKEN = re.compile(rb'"callBackUrl":"[^"]*/(att_[0-9a-z]+)\.')
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
ACCEPTED, REFUSED = 200, frozenset({401, 402, 422, 429, 433, 455, 505, 550})
SLOW_SECONDS, SILENT_SECONDS, SLICE_SECONDS = 0.4, 2.5, 0.001
SLICE_BYTES, MAX_CUT_BYTES = 16, 700  # an order is about as long, an answer shorter


@dataclass
class Call:
    """One connection: the attempt whose order it carried, and the bytes of the answer that were passed on.

    `pid` is the process that opened it, by the kernel's tables; 0 when that process had ended before they were read.
    """

    toxic: str
    cut: int
    pid: int = 0
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    request: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)
    short: bool = False

    @property
    def attempt(self) -> str:
        """The attempt's id; empty for anything but an order."""
        found = TOKEN.search(self.request)
        return found.group(1).decode() if found else ""

    @property
    def verdict(self) -> str:
        """What an answer says that passed whole: `taken` or `refused`; empty when it leaves a doubt."""
        head, _, body = bytes(self.answer).partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if length is None or len(body) != int(length.group(1)):
            return ""
        with suppress(ValueError):
            document = json.loads(body)
            if document["code"] == ACCEPTED:
                return "taken" if document["data"].get("taskId") else ""
            return "refused" if document["code"] in REFUSED else ""
        return ""

    def allowance(self, *, back: bool) -> int:
        """How many bytes may still pass; resets happen in either direction, cuts and silence to the answer."""
        seen = self.answer if back else self.request
        if self.toxic == "reset_peer" and back == bool(self.cut % 2):
            return max(self.cut - len(seen), 0)
        if back and self.toxic in {"limit_data", "timeout"}:
            return max((self.cut if self.toxic == "limit_data" else 0) - len(seen), 0)
        return CHUNK_BYTES

    def delay(self, *, back: bool) -> float:
        """The seconds for which a piece is held back."""
        silent = SILENT_SECONDS if back else 0.0
        return {"latency": SLOW_SECONDS, "slicer": SLICE_SECONDS, "timeout": silent}.get(self.toxic, 0.0)


class ToxicProxy:
    """Relays to a port of this machine; by seed and number each connection gets a toxic of the mix, or none."""

    def __init__(self, upstream: int, seed: str, mix: Mapping[str, float]) -> None:
        self.mix = mix
        self.calls: list[Call] = []
        self.client_pids: Callable[[], Iterable[int]] = tuple
        self.port = 0
        self._upstream = upstream
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def up(self) -> None:
        """Listen; after `down` on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse new connections; open ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Stop listening, and reset all connections."""
        await self.down()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _draw(self) -> Call:
        rng = random.Random(f"{self._seed}/{len(self.calls)}")
        kinds, weights = ["", *self.mix], [max(0.0, 1 - sum(self.mix.values())), *self.mix.values()]
        return Call(rng.choices(kinds, weights)[0], rng.randrange(MAX_CUT_BYTES))

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        call = self._draw()
        call.pid = pid_of(client.get_extra_info("peername")[1], self.client_pids())
        self.calls.append(call)
        try:
            await self._relay(call, reader, client)
        except (OSError, asyncio.CancelledError):
            abort(client)
        finally:
            call.ended = time.time()
            self._links.discard(task)

    async def _relay(self, call: Call, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        there = asyncio.create_task(relay(call, reader, upstream, call.request))
        back = asyncio.create_task(relay(call, answers, client, call.answer))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            abort(upstream)
            abort(client) if call.short and call.toxic == "reset_peer" else client.close()


def pid_of(port: int, candidates: Iterable[int]) -> int:
    """The process, of these, whose socket has a local port; 0 when none has it now."""
    pids = list(candidates)
    wanted = f"socket:[{inode_of(port)}]" if pids else ""
    for pid in pids:
        with suppress(OSError):
            folder = Path(f"/proc/{pid}/fd")
            if any(link_of(descriptor) == wanted for descriptor in folder.iterdir()):
                return pid
    return 0


def link_of(descriptor: Path) -> str:
    """The target of a process's descriptor; empty when it was closed meanwhile."""
    with suppress(OSError):
        return str(descriptor.readlink())
    return ""


def inode_of(port: int) -> str:
    """The inode of the socket with a local port (proc(5), /proc/net/tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if int(columns[1].rpartition(":")[2], 16) == port:
            return columns[9]
    return ""


async def relay(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    """Pass on the bytes of one direction, with the call's toxic, until they or the toxic end it."""
    back = seen is call.answer
    pieces = sliced if call.toxic == "slicer" else whole
    while data := await reader.read(CHUNK_BYTES):
        for piece in pieces(data):
            await asyncio.sleep(call.delay(back=back))
            allowed = piece[: call.allowance(back=back)]
            writer.write(allowed)
            await writer.drain()
            seen += allowed
            if len(allowed) < len(piece):
                call.short = True
                return


def whole(data: bytes) -> list[bytes]:
    """A chunk as one piece."""
    return [data]


def sliced(data: bytes) -> list[bytes]:
    """A chunk in pieces of SLICE_BYTES."""
    return [data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES)]


def abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection by a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    writer.transport.abort()


COMMIT = b"COMMIT"  # in a query message of the client; asyncpg and SQLAlchemy send `COMMIT;` as text


class CommitProxy:
    """Relays to a PostgreSQL; a `share` of all commits loses the reply, and the client its connection."""

    def __init__(self, upstream: int, seed: str) -> None:
        self.share, self.lost, self.port = 0.0, 0, 0
        self._upstream = upstream
        self._rng = random.Random(f"{seed}/commits")

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
        back = asyncio.create_task(copy_bytes(answers, client))
        try:
            while data := await reader.read(CHUNK_BYTES):
                if COMMIT in data and self._rng.random() < self.share:
                    await self._commit_without_reply(back, data, answers, server)
                    return
                server.write(data)
                await server.drain()
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            abort(server)

    async def _commit_without_reply(
        self, back: "asyncio.Task[None]", data: bytes, answers: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        """Pass the commit on and wait for the server's reply, which is dropped."""
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)
        server.write(data)
        await server.drain()
        await answers.read(CHUNK_BYTES)
        self.lost += 1


async def copy_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on the bytes of one direction until they end."""
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
