"""The real process: it answers, and stops in order when asked to."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx

from tests.support.polling import until
from tests.support.ports import free_port
from tests.support.valkey import Valkey

DEADLINE_SECONDS = 20.0


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


async def test_the_process_listens_for_changes_of_shares(tmp_path: Path, valkey: Valkey) -> None:
    port, channel = free_port(), "kawaii.share.v1.ShareService"
    environment = os.environ | {
        "INTERNAL_PORT_BASE": str(port),
        "REDIS_URL": valkey.url,
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(Path.cwd()),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    await asyncio.to_thread(until, lambda: dict(valkey.redis.pubsub_numsub(channel))[channel.encode()] or None)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await process.wait() == 0


async def test_the_process_keeps_token_buckets_in_redis(tmp_path: Path, valkey: Valkey) -> None:
    port = free_port()
    environment = os.environ | {
        "INTERNAL_PORT_BASE": str(port),
        "REDIS_URL": valkey.url,
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(Path.cwd()),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await answers(f"http://127.0.0.1:{port}/healthz")
        async with httpx.AsyncClient() as client:
            await client.post(f"http://127.0.0.1:{port}/api/share", headers={"x-kawaii-client": "192.0.2.1"})
        assert await asyncio.to_thread(valkey.redis.exists, "kawaii:bucket:shares:192.0.2.1")
    finally:
        process.terminate()
        await process.wait()
        valkey.kill()
