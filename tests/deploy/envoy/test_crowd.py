"""A thousand slow senders and a thousand idle connections of one client keep nobody from the gateway behind Envoy."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from deploy.envoy.render import openable
from deploy.launcher import plan
from deploy.launcher.plan import settle
from deploy.launcher.preflight import allow_files, most_files, prepare

EACH = 999
DESCRIPTORS = 3 * EACH + 500
GREEDY = "127.0.0.2"  # another client than the test's, which comes from 127.0.0.1
PATIENCE_SECONDS = 90.0  # for what must happen, on a busy machine
SLOW = 'POST {} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{{"a": "'
MANY = 8192  # unused connections of one client
HEAP_BYTES, SENDERS = 64 * 1024 * 1024, 200  # each sends half a megabyte, so that they would take more than there is
HALF = (
    "POST /api/share HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    + "x" * 500_000
)
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
            *each.command, cwd=each.folder or None, env=made.environment | each.environment
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


def files(number: int) -> None:
    """Let this process open so many files, and what it starts as many as the system allows."""
    if most_files() < number:
        pytest.skip(f"only {most_files()} files may be open on this machine")
    allow_files()


async def test_slow_senders_and_idle_connections_keep_nobody_out(port: int) -> None:
    files(DESCRIPTORS)
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


async def test_thousands_of_unused_connections_keep_nobody_out_and_close_by_themselves(port: int) -> None:
    files(MANY + 500)
    if openable() <= MANY:
        pytest.skip(f"Envoy may open only {openable()} connections of clients on this machine")
    async with edge_and_gateway(port) as (_, _gateway):
        unused = [await opened(port, "") for _ in range(MANY)]
        statuses = [await status_of_a_newcomer(port) for _ in range(5)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            ends = [await reader.read(1) for reader, _ in unused]
        for _, writer in unused:
            writer.transport.abort()

    assert statuses == [200] * 5
    assert set(ends) == {b""}


async def test_bodies_that_never_end_fill_the_memory_of_envoy_and_cut_only_their_senders_off(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(DESCRIPTORS)
    monkeypatch.setenv("ENVOY_MAX_HEAP_BYTES", str(HEAP_BYTES))
    async with edge_and_gateway(port) as (_, _gateway):
        senders = [await opened(port, HALF) for _ in range(SENDERS)]
        statuses = [await status_of_a_newcomer(port) for _ in range(5)]
        cut_off = [asyncio.create_task(reader.read(1)) for reader, _ in senders]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait(cut_off, return_when=asyncio.FIRST_COMPLETED)
        statuses += [await status_of_a_newcomer(port) for _ in range(5)]
        for task, (_, writer) in zip(cut_off, senders, strict=True):
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*cut_off, return_exceptions=True)

    assert statuses == [200] * 10


async def status_of_a_newcomer(port: int) -> int:
    """What a client reads that has no connection yet."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as newcomer:
        return (await newcomer.get("/healthz")).status_code


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
