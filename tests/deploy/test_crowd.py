"""A thousand slow senders and a thousand idle connections of one client keep nobody from the gateway behind Envoy."""

import asyncio
import resource
import socket
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


async def test_slow_senders_and_idle_connections_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch, base: int, tmp_path: Path
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < DESCRIPTORS:
        pytest.skip(f"only {most} files may be open on this machine")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
    port = base + 15
    for name, value in {"INTERNAL_PORT_BASE": base, "PORT": port, "DATA_DIR": tmp_path / "data"}.items():
        monkeypatch.setenv(name, str(value))
    made = plan.make(settle())
    prepare(made)
    wanted = [process for process in made.processes if process.name in {"envoy", "gateway"}]
    running = [
        await asyncio.create_subprocess_exec(
            *each.command, cwd=each.folder or None, env=made.environment | each.secrets
        )
        for each in wanted
    ]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as other:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await serves(other):
                    continue
            idle = [await opened(port, "") for _ in range(EACH)]
            held = [await opened(port, SLOW.format(PATHS[place % len(PATHS)])) for place in range(EACH)]
            read = await other.get("/healthz")
            write = await other.post("/api/share", json={})
            webhook = await other.post("/api/callback/image-generated", json={})
            async with asyncio.timeout(PATIENCE_SECONDS):  # an unused connection is closed by itself
                ends = await asyncio.gather(*(reader.read(1) for reader, _ in idle))
            for _, writer in (*idle, *held):
                writer.transport.abort()
    finally:
        for each in running:
            each.kill()
            await each.wait()

    assert (read.status_code, write.status_code) == (200, 400)
    assert webhook.json()["error"] != "The server is starting, restarting or busy; try again in a second."
    assert set(ends) == {b""}


async def serves(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.HTTPError:
        await asyncio.sleep(0.05)
        return False
