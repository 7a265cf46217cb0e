"""A thousand slow senders and a thousand idle connections of one client keep nobody from the gateway behind Envoy."""

import asyncio
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from deploy import plan
from deploy.configuration import settle
from deploy.preflight import prepare

EACH = 999
DESCRIPTORS = 3 * EACH + 500
GREEDY = "127.0.0.2"  # another client than the test's, which comes from 127.0.0.1
PATIENCE_SECONDS = 90.0  # for what must happen, on a busy machine
SLOW = 'POST {} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{{"a": "'
# Envoy closes a connection that was unused for four seconds, so that it uses this one again; and what comes then.
IDLE_SECONDS, PAUSE_SECONDS = 3.0, 3.0
PATHS = ("/api/generate-image", "/api/share", "/api/callback/image-generated")


async def opened(port: int, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that sends this and no more."""
    plain = socket.socket()
    plain.settimeout(0)
    plain.bind((GREEDY, 0))
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain)
    writer.write(text.encode())
    return reader, writer


@asynccontextmanager
async def edge_and_gateway(port: int) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """Envoy and the gateway, without a service behind them; a client, and the gateway's process."""
    made = plan.make(settle())
    prepare(made)
    wanted = {process.name: process for process in made.processes if process.name in {"envoy", "gateway"}}
    running = {
        name: await asyncio.create_subprocess_exec(
            *each.command, cwd=each.folder or None, env=made.environment | each.secrets
        )
        for name, each in wanted.items()
    }
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await serves(client):
                    continue
            yield client, running["gateway"].pid
    finally:
        for each in running.values():
            each.kill()
            await each.wait()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, base: int, tmp_path: Path) -> int:
    """The public port of the stack that the environment describes."""
    settings = {"INTERNAL_PORT_BASE": base, "PORT": base + 15, "DATA_DIR": tmp_path / "data"}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    return base + 15


async def test_slow_senders_and_idle_connections_keep_nobody_out(port: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < DESCRIPTORS:
        pytest.skip(f"only {most} files may be open on this machine")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
    async with edge_and_gateway(port) as (other, _):
        idle = [await opened(port, "") for _ in range(EACH)]
        held = [await opened(port, SLOW.format(PATHS[place % len(PATHS)])) for place in range(EACH)]
        read = await other.get("/healthz")
        write = await other.post("/api/share", json={})
        webhook = await other.post("/api/callback/image-generated", json={})
        async with asyncio.timeout(PATIENCE_SECONDS):  # an unused connection is closed by itself
            ends = await asyncio.gather(*(reader.read(1) for reader, _ in idle))
        for _, writer in (*idle, *held):
            writer.transport.abort()

    assert (read.status_code, write.status_code) == (200, 400)
    assert webhook.json()["error"] != "The server is starting, restarting or busy; try again in a second."
    assert set(ends) == {b""}


async def test_a_gateway_that_gets_no_time_for_seconds_answers_late_and_refuses_nobody(port: int) -> None:
    """On connections that Envoy has kept, and that the gateway would have closed meanwhile had it run."""
    async with edge_and_gateway(port) as (other, gateway):
        await both(other)
        await asyncio.sleep(IDLE_SECONDS)
        os.kill(gateway, signal.SIGSTOP)
        late = asyncio.create_task(both(other))
        await asyncio.wait({late}, timeout=PAUSE_SECONDS)
        os.kill(gateway, signal.SIGCONT)

        assert await late == [200, 400]


async def both(client: httpx.AsyncClient) -> list[int]:
    """The statuses of a read, and of a write that is not repeated."""
    answers = await asyncio.gather(client.get("/healthz"), client.post("/api/share", json={}))
    return [answer.status_code for answer in answers]


async def serves(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.HTTPError:
        await asyncio.sleep(0.05)
        return False
