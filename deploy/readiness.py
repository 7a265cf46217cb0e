"""Asks the town through its own front door whether it serves, and a process whether it lives."""

import asyncio
from collections.abc import Callable

POLL_SECONDS = 0.05  # the person waits for this answer
REQUEST_SECONDS = 5.0  # /readyz asks every service; one that hangs must not hang us
MAX_ANSWER_BYTES = 16_384
REMIND_SECONDS = 10.0  # without news for this long, people wonder
OK = 200
READY, LIVE = "/readyz", "/livez"


async def ready(host: str, port: int, remind: Callable[[str], None], path: str = READY) -> None:
    """Return once the path answers 200; meanwhile tell now and then what it says instead."""
    loop = asyncio.get_running_loop()
    told = loop.time()
    while (answer := await ask(host, port, path))[0] != OK:
        if loop.time() - told > REMIND_SECONDS:
            told = loop.time()
            remind(answer[1])
        await asyncio.sleep(POLL_SECONDS)


async def ask(host: str, port: int, path: str = READY, seconds: float = REQUEST_SECONDS) -> tuple[int, str]:
    """Status and body of GET; status 0 when nobody answers in time."""
    try:
        async with asyncio.timeout(seconds):
            return parse(await _get(host, port, path))
    except (OSError, TimeoutError):
        return 0, "nobody answers yet"


def parse(answer: bytes) -> tuple[int, str]:
    """Split an HTTP/1.1 answer; status 0 when it is not one."""
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    words = head.split(maxsplit=2)
    return (int(words[1]) if len(words) > 1 and words[1].isdigit() else 0), body.strip()


async def _get(host: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read(MAX_ANSWER_BYTES)
    finally:
        writer.close()
