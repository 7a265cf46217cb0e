"""A DNS server of the test's own, whose records change while the test runs."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

TYPE_A, CLASS_IN = 1, 1
HEADER, QUESTION, RECORD = "!HHHHHH", "!HH", "!HHHIH"
RESPONSE = 0x8180  # an answer without an error, of a server that also asks others
NXDOMAIN = 3
POINTER_TO_QUESTION = 0xC00C


class DnsServer(asyncio.DatagramProtocol):
    """Answers questions for IPv4 addresses by `records`; `asked` counts them."""

    def __init__(self, records: Mapping[str, Sequence[str]]) -> None:
        self.records = records
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are sent by."""
        self._transport = cast("asyncio.DatagramTransport", transport)  # asyncio's own is none by type

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        assert self._transport
        self._transport.sendto(self._answer(data), addr)

    def _answer(self, data: bytes) -> bytes:
        (identifier,) = struct.unpack_from("!H", data)
        name, end = _name(data, struct.calcsize(HEADER))
        kind, _ = struct.unpack_from(QUESTION, data, end)
        question = data[struct.calcsize(HEADER) : end + struct.calcsize(QUESTION)]
        addresses = self.records.get(name)
        code = NXDOMAIN if addresses is None else 0
        found = list(addresses or ()) if kind == TYPE_A else []
        self.asked += kind == TYPE_A
        head = struct.pack(HEADER, identifier, RESPONSE | code, 1, len(found), 0, 0)
        answers = [
            struct.pack(RECORD, POINTER_TO_QUESTION, TYPE_A, CLASS_IN, 0, 4) + socket.inet_aton(address)
            for address in found
        ]
        return b"".join([head, question, *answers])


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name of a question, in lower case, and where the rest of the question begins."""
    labels = []
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), at + 1


@asynccontextmanager
async def serving_dns(records: Mapping[str, Sequence[str]]) -> AsyncIterator[tuple[DnsServer, str]]:
    """A server with these records, and its address."""
    server = DnsServer(records)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    host, port = transport.get_extra_info("sockname")
    try:
        yield server, f"{host}:{port}"
    finally:
        transport.close()
