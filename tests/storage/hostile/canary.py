"""Listens at every address there is, as the namespace routes all of them here, and notes who should not have come."""

import socket
import ssl
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from tests.storage.hostile.table import OWN_ADDRESS, PUBLIC_4, PUBLIC_6

PORTS = (80, 443, 1, 21, 22, 25, 53, 3306, 5432, 6379, 8080, 8443, 9200, 11211)
HONEST = (PUBLIC_4, PUBLIC_6)
PATIENCE_SECONDS = 5.0


class Canary:
    """Serves a picture to everybody, so that whoever gets in is not even stopped by an error."""

    def __init__(self, picture: bytes, certificate: Path) -> None:
        self._picture = picture
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate)
        self.visits: list[str] = []
        self.served = 0

    def start(self) -> None:
        """Listen on all ports until the process ends."""
        for port in PORTS:
            listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
            Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            connection, _ = listener.accept()
            mapped = IPv6Address(connection.getsockname()[0].partition("%")[0])
            Thread(target=self._serve, args=(connection, str(mapped.ipv4_mapped or mapped), port), daemon=True).start()

    def _serve(self, connection: socket.socket, address: str, port: int) -> None:
        is_honest = address in HONEST and port in (80, 443)
        if not is_honest and address != OWN_ADDRESS:
            self.visits.append(f"{address}:{port}")
        connection.settimeout(PATIENCE_SECONDS)
        with suppress(OSError), connection:
            stream = self._context.wrap_socket(connection, server_side=True) if port == 443 else connection
            request = _head(stream)
            if address == OWN_ADDRESS and not request.startswith("POST /api/callback/"):
                self.visits.append(f"{address}:{port} {request.splitlines()[0]}")
            self.served += is_honest
            stream.sendall(self._answer(request))
            stream.close()

    def _answer(self, request: str) -> bytes:
        url = urlsplit(request.split(" ")[1])
        target = parse_qs(url.query).get("to", [""])[0] if url.path == "/bounce" else ""
        if url.path == "/round":
            target = "/round"
        if url.path.startswith("/hop/"):
            left = int(url.path[5:])
            target = f"/hop/{left - 1}" if left > 1 else "/a.png"
        if target:
            return (
                f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
        length = len(self._picture)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        return head.encode() + self._picture


def _head(stream: socket.socket) -> str:
    received = b""
    while b"\r\n\r\n" not in received and (piece := stream.recv(65_536)):
        received += piece
    return received.decode("latin-1") or "nothing / nothing\n"
