"""The real process: it answers, and stops in order when asked to."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import httpx

DEADLINE_SECONDS = 20.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def answers(url: str) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_the_process_serves_and_a_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {"INTERNAL_PORT_BASE": str(port), "LOG_FORMAT": "json", "PYTHONPATH": str(Path.cwd())}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    await answers(f"http://127.0.0.1:{port}/healthz")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, errors = await process.communicate()

    assert process.returncode == 0
    assert b"Traceback" not in errors
