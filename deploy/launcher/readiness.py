"""Probes the stack: asks at the public port whether it serves, and asks each process whether it lives."""

import asyncio
import os
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.launcher.model import Probe
from services.chassis.addresses import LOOPBACK

POLL_SECONDS = 0.05  # the person waits for this answer
REQUEST_SECONDS = 5.0  # /readyz asks every service; one that hangs must not hang us
MAX_ANSWER_BYTES = 16_384
REMIND_SECONDS = 10.0  # without news for this long, people wonder
OK = 200
READY = "/readyz"
DESCRIPTORS = Path("/proc/self/fd")  # of Linux: a short name for a folder whose own is too long for a socket


@dataclass(frozen=True)
class Public:
    """The public port, as this machine reaches it."""

    host: str
    port: int
    tls: bool = False


async def ready(public: Public, remind: Callable[[str], None], path: str = READY) -> None:
    """Return once the path answers 200; meanwhile tell now and then what it says instead."""
    loop = asyncio.get_running_loop()
    reported = loop.time()
    while (answer := await ask(public, path))[0] != OK:
        if loop.time() - reported > REMIND_SECONDS:
            reported = loop.time()
            remind(answer[1])
        await asyncio.sleep(POLL_SECONDS)


async def ask(public: Public, path: str = READY, seconds: float = REQUEST_SECONDS) -> tuple[int, str]:
    """Status and body of GET; status 0 when nobody answers in time."""
    try:
        async with asyncio.timeout(seconds):
            return parse(await _get(public, path))
    except (OSError, TimeoutError):
        return 0, "nobody answers yet"


async def lives(probe: Probe, folder: str, seconds: float = REQUEST_SECONDS) -> bool:
    """Whether a process that runs in this folder answers its probe in time."""
    try:
        async with asyncio.timeout(seconds):
            return (await _line(probe, folder)).startswith(probe.answers)
    except (OSError, TimeoutError, ValueError):  # the last: a line without an end
        return False


async def _line(probe: Probe, folder: str) -> str:
    """The first line of the answer."""
    with _named(folder) as short:
        reader, writer = await _opened(probe, short)
    try:
        writer.write(probe.request.encode())
        return (await reader.readline()).decode("ascii", "replace")
    finally:
        writer.close()


async def _opened(probe: Probe, folder: Path) -> tuple[StreamReader, StreamWriter]:
    if probe.port:
        return await asyncio.open_connection(LOOPBACK, probe.port)
    return await asyncio.open_unix_connection(folder / probe.socket)


@contextmanager
def _named(folder: str) -> Iterator[Path]:
    """A name of a folder that leaves room for a socket's, which may have a hundred characters in all."""
    if not (folder and DESCRIPTORS.is_dir()):
        yield Path(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield DESCRIPTORS / str(descriptor)
    finally:
        os.close(descriptor)


def parse(answer: bytes) -> tuple[int, str]:
    """Split an HTTP/1.1 answer; status 0 when it is not one."""
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    words = head.split(maxsplit=2)
    return (int(words[1]) if len(words) > 1 and words[1].isdigit() else 0), body.strip()


async def _get(public: Public, path: str) -> bytes:
    host, port = public.host, public.port
    reader, writer = await asyncio.open_connection(host, port, ssl=_unverified() if public.tls else None)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read(MAX_ANSWER_BYTES)
    finally:
        writer.close()


def _unverified() -> ssl.SSLContext:
    """TLS with whoever listens: the certificate names the site, not the address at which this machine asks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
