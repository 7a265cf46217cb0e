"""A name server that answers by script: differently at each look-up, in mixed families, with names that lead inside."""

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from threading import Thread

from tests.storage.hostile.table import OWN_ADDRESS, OWN_HOST, PRIVATE_4, PUBLIC_4, PUBLIC_6, REBINDS

A, CNAME, AAAA = 1, 5, 28
NXDOMAIN, NO_ERROR = 3, 0
Turn = tuple[str, ...]
"""What one look-up answers: addresses of both families, or one name."""

STATIC: dict[str, Turn] = {
    "public.example": (PUBLIC_4,),
    "both.example": (PUBLIC_6, PUBLIC_4),
    "xn--bcher-kva.example": (PUBLIC_4,),
    OWN_HOST: (OWN_ADDRESS,),
    "inside.example": ("10.0.0.7",),
    "metadata.example": ("169.254.169.254",),
    "mixed.example": (PUBLIC_4, "127.0.0.1"),
    "mixed6.example": (PUBLIC_6, "fd00::1"),
    "kie.ai.evil.example": ("127.0.0.1",),
    "loop6.example": ("::1",),
    "mapped.example": ("::ffff:10.0.0.1",),
    "alias.example": ("inside.example",),
}


def script(number: int) -> list[Turn]:
    """The look-ups of a rebinding host in turn; the last one repeats."""
    inside = PRIVATE_4[number % len(PRIVATE_4)]
    return [
        [(PUBLIC_4,), (inside,)],
        [(inside,), (PUBLIC_4,)],
        [(PUBLIC_4, inside)],
        [(PUBLIC_4, f"::ffff:{inside}")],
        [(PUBLIC_4,), ("inside.example",), (PUBLIC_4,)],
    ][number % 5]


class NameServer:
    """Answers on UDP; counts the look-ups of each name and family."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._seen: Counter[tuple[str, int]] = Counter()
        self._turns = {name: [turn] for name, turn in STATIC.items()}
        self._turns |= {f"r{number}.rebind.example": script(number) for number in range(REBINDS)}

    def start(self) -> None:
        """Serve until the process ends."""
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        name, end = _name_of(query)
        (kind,) = struct.unpack(">H", query[end : end + 2])
        turns = self._turns.get(name)
        place = self._seen[name, kind]
        self._seen[name, kind] += 1
        records = _records(turns[min(place, len(turns) - 1)], kind) if turns else []
        head = struct.pack(">2sHHHHH", query[:2], 0x8580 | (NO_ERROR if turns else NXDOMAIN), 1, len(records), 0, 0)
        return head + query[12 : end + 4] + b"".join(records)


def _name_of(query: bytes) -> tuple[str, int]:
    labels, place = [], 12
    while length := query[place]:
        labels.append(query[place + 1 : place + 1 + length].decode("ascii", "replace").lower())
        place += length + 1
    return ".".join(labels), place + 1


def _records(turn: Sequence[str], kind: int) -> list[bytes]:
    if turn[0] in STATIC:
        alias = b"".join(bytes([len(label)]) + label.encode() for label in turn[0].split(".")) + b"\0"
        return [_record(b"\xc0\x0c", CNAME, alias), *_records_of(alias, STATIC[turn[0]], kind)]
    return _records_of(b"\xc0\x0c", turn, kind)


def _records_of(owner: bytes, addresses: Sequence[str], kind: int) -> list[bytes]:
    version = {A: 4, AAAA: 6}.get(kind, 0)
    return [_record(owner, kind, found.packed) for found in map(ip_address, addresses) if found.version == version]


def _record(owner: bytes, kind: int, content: bytes) -> bytes:
    return owner + struct.pack(">HHIH", kind, 1, 0, len(content)) + content
