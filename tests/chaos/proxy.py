"""A toxic TCP proxy before the provider, which also witnesses what was asked and how much of the answer got through."""

import asyncio
import json
import random
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 65_536
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST, not FIN
TOKEN = re.compile(rb'"callBackUrl":"[^"]*/(att_[0-9a-z]+)\.')
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
TAKEN, REFUSED = 200, frozenset({401, 402, 422, 429, 433, 455, 505, 550})
SLOW_SECONDS, SILENT_SECONDS, CRUMB_SECONDS = 0.4, 2.5, 0.001
SLICE_BYTES, MAX_CUT_BYTES = 16, 700  # an order is about as long, an answer shorter


@dataclass
class Call:
    """One connection: the attempt whose order it carried, and the bytes of the answer that were passed on.

    pid is the process that opened it, as the kernel says; 0 when that process was gone before anybody looked.
    """

    toxic: str
    cut: int
    pid: int = 0
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    asked: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)
    short: bool = False

    @property
    def attempt(self) -> str:
        """The attempt's id; empty for anything but an order."""
        found = TOKEN.search(self.asked)
        return found.group(1).decode() if found else ""

    @property
    def verdict(self) -> str:
        """What an answer that was passed on whole says for certain: taken or refused; empty if it leaves a doubt."""
        head, _, body = bytes(self.answer).partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if length is None or len(body) != int(length.group(1)):
            return ""
        with suppress(ValueError):
            document = json.loads(body)
            if document["code"] == TAKEN:
                return "taken" if document["data"].get("taskId") else ""
            return "refused" if document["code"] in REFUSED else ""
        return ""

    def room(self, *, back: bool) -> int:
        """How many bytes may still pass: resets fall on the way there or back, cuts and silence on the way back."""
        seen = self.answer if back else self.asked
        if self.toxic == "reset_peer" and back == bool(self.cut % 2):
            return max(self.cut - len(seen), 0)
        if back and self.toxic in {"limit_data", "timeout"}:
            return max((self.cut if self.toxic == "limit_data" else 0) - len(seen), 0)
        return CHUNK_BYTES

    def delay(self, *, back: bool) -> float:
        """How long a piece is held back."""
        silent = SILENT_SECONDS if back else 0.0
        return {"latency": SLOW_SECONDS, "slicer": CRUMB_SECONDS, "timeout": silent}.get(self.toxic, 0.0)


class Proxy:
    """Relays to a port of this machine; each connection draws its toxic from the mix by the seed."""

    def __init__(self, upstream: int, seed: str, mix: Mapping[str, float]) -> None:
        self.mix = mix
        self.calls: list[Call] = []
        self.callers: Callable[[], Iterable[int]] = tuple
        self.port = 0
        self._upstream = upstream
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def up(self) -> None:
        """Listen, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse connections; those that are open live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """End everything."""
        await self.down()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _draw(self) -> Call:
        dice = random.Random(f"{self._seed}/{len(self.calls)}")
        kinds, weights = ["", *self.mix], [max(0.0, 1 - sum(self.mix.values())), *self.mix.values()]
        return Call(dice.choices(kinds, weights)[0], dice.randrange(MAX_CUT_BYTES))

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        call = self._draw()
        call.pid = pid_of(client.get_extra_info("peername")[1], self.callers())
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
        there = asyncio.create_task(pump(call, reader, upstream, call.asked))
        back = asyncio.create_task(pump(call, answers, client, call.answer))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            abort(upstream)
            abort(client) if call.short and call.toxic == "reset_peer" else client.close()


def pid_of(port: int, candidates: Iterable[int]) -> int:
    """Which of these processes has the socket that is bound to a port of this machine; 0 when none has it now."""
    pids = list(candidates)
    wanted = f"socket:[{inode_of(port)}]" if pids else ""
    for pid in pids:
        with suppress(OSError):
            folder = Path(f"/proc/{pid}/fd")
            if any(link_of(descriptor) == wanted for descriptor in folder.iterdir()):
                return pid
    return 0


def link_of(descriptor: Path) -> str:
    """What a descriptor of a process is; empty when it was closed meanwhile."""
    with suppress(OSError):
        return str(descriptor.readlink())
    return ""


def inode_of(port: int) -> str:
    """The inode of the socket whose own port this is (proc(5), /proc/net/tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if int(columns[1].rpartition(":")[2], 16) == port:
            return columns[9]
    return ""


async def pump(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    """Pass one direction on until it ends, or the toxic ends it."""
    back = seen is call.answer
    pieces = sliced if call.toxic == "slicer" else whole
    while data := await reader.read(CHUNK_BYTES):
        for piece in pieces(data):
            await asyncio.sleep(call.delay(back=back))
            allowed = piece[: call.room(back=back)]
            writer.write(allowed)
            await writer.drain()
            seen += allowed
            if len(allowed) < len(piece):
                call.short = True
                return


def whole(data: bytes) -> list[bytes]:
    """A chunk as it came."""
    return [data]


def sliced(data: bytes) -> list[bytes]:
    """A chunk in crumbs."""
    return [data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES)]


def abort(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    writer.transport.abort()
