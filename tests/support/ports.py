"""Ports of loopback that are free, for servers and stacks of the tests."""

import asyncio
import random
import socket
import time
from contextlib import suppress

BLOCK = 16  # a stack's internal ports and its public one
LISTEN_SECONDS = 120.0  # a busy machine starts slowly


def free_port() -> int:
    """A port on which nothing listened a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def free_base() -> int:
    """The first of BLOCK free ports, below the range from which the kernel takes ports for connections."""
    starts = random.sample(range(20_000, 31_000, BLOCK), k=200)
    return next(start for start in starts if all(is_free(port) for port in range(start, start + BLOCK)))


def is_free(port: int) -> bool:
    """Whether a server could listen on a port now."""
    with suppress(OSError), socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        return True
    return False


async def listening(port: int) -> None:
    """Wait until something listens on a port. Raises TimeoutError."""
    end = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < end:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")
