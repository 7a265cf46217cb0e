"""Replicas of a tiny service as processes of their own, and who of them answers."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from grpc import aio

from tests.chassis.echo import Client
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


class Process:
    """A replica of its own process, whose port is its name."""

    def __init__(self, **settings: str) -> None:
        self.port = free_port()
        self._settings = settings
        self.start()

    def start(self) -> None:
        """Start it, again too."""
        ports = {"LISTEN_PORT": str(self.port), "METRICS_PORT": str(free_port())}
        command = [sys.executable, "-m", "tests.chassis.program"]
        self.running = subprocess.Popen(command, cwd=ROOT, env=os.environ | ports | self._settings)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.running.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        return await asyncio.to_thread(self.running.wait)

    def close(self) -> None:
        """Kill it."""
        self.running.kill()
        self.running.wait()


def target_of(*processes: Process) -> str:
    """The target of replicas on this machine."""
    return f"ipv4:{','.join(f'127.0.0.1:{each.port}' for each in processes)}"


async def answers(client: Client, calls: int) -> Counter[str]:
    """Who answers so many calls."""
    return Counter([await client.ask("unary_unary", "who") for _ in range(calls)])


def only(client: Client, *words: str) -> Callable[[], Awaitable[bool]]:
    """Whether these replicas, and no other, answer the next calls."""

    async def look() -> bool:
        try:
            return set(await answers(client, 6)) == set(words)
        except aio.AioRpcError:  # a call that begins at the moment when the last replica stops to serve
            return False

    return look
