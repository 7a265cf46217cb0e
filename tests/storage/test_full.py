"""A full disk and a dead service, seen from a browser: 507 and 503, no torn file, and what was accepted stays."""

import io
import os
import random
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from kawaii.storage.v1 import storage_pb2 as storagepb
from PIL import Image

from gateway.app import make_app
from gateway.clients import stubs
from gateway.settings import GatewaySettings
from services.chassis.addresses import ListenPort
from services.chassis.channels import plain_channel
from services.chassis.migrations import migrate
from services.storage.settings import StorageSettings
from tests.storage.test_process import running
from tests.support.polling import eventually
from tests.support.ports import free_base

SIDE = 400  # of noise: about half a MiB that no compression makes smaller
ROOMS = {"no space": "size=3m", "no inodes": "size=64m,nr_inodes=30"}


@pytest.fixture(params=sorted(ROOMS))
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk of its own."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount the small disk that this test fills")
    folder = tmp_path / "objects"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ROOMS[request.param], "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"this machine forbids mounting: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def stack(tmp_path: Path) -> StorageSettings:
    settings = StorageSettings(data_dir=tmp_path, internal_port_base=free_base(), _env_file=None)
    migrate("storage", settings)
    return settings


@dataclass(frozen=True)
class Browser:
    """A client of the gateway, and one of the public files."""

    gateway: httpx.AsyncClient
    files: httpx.AsyncClient
    services: stubs.Clients

    async def upload(self, body: bytes) -> httpx.Response:
        return await self.gateway.post("/api/upload-image", files={"file": ("a.png", body, "image/png")})

    async def bytes_of(self, key: str) -> bytes:
        return (await self.files.get(f"/files/{key}")).raise_for_status().content


@asynccontextmanager
async def browsing(stack: StorageSettings) -> AsyncIterator[Browser]:
    """The real gateway before the real storage service; the other services are not called."""
    async with AsyncExitStack() as exits:
        channel = await exits.enter_async_context(plain_channel(stack.address(ListenPort.STORAGE)))
        services = stubs.over(**dict.fromkeys(stubs.over.__annotations__.keys() - {"return"}, channel))
        app = make_app(GatewaySettings(_env_file=None), services)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        gateway = await exits.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://site.test"))
        base = f"http://{stack.address(ListenPort.FILES)}"
        files = await exits.enter_async_context(httpx.AsyncClient(base_url=base, trust_env=False))
        yield Browser(gateway, files, services)


def noise(seed: int) -> bytes:
    """A picture that differs by seed."""
    file = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), random.Random(seed).randbytes(SIDE * SIDE * 3)).save(file, "PNG")
    return file.getvalue()


async def filled(browser: Browser) -> tuple[dict[str, bytes], httpx.Response]:
    """Upload until something is refused: what was accepted, and the refusal."""
    accepted: dict[str, bytes] = {}
    for seed in range(100):
        body = noise(seed)
        answer = await browser.upload(body)
        if answer.is_error:
            return accepted, answer
        accepted[answer.json()["key"]] = body
    raise AssertionError("the disk never filled")


def files_in(room: Path, folder: str) -> set[str]:
    """What lies in a folder of the disk, as keys."""
    return {str(path.relative_to(room)) for path in (room / folder).rglob("*") if path.is_file()}


def listens(address: str) -> bool:
    """Whether somebody takes connections there."""
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port))):
        return True
    return False


def refusal(answer: httpx.Response) -> tuple[int, Any, Any]:
    return answer.status_code, answer.json()["success"], answer.json()["code"]


async def test_a_full_disk_is_507_keeps_what_it_had_and_heals_by_itself(stack: StorageSettings, room: Path) -> None:
    async with running(stack), browsing(stack) as browser:
        await eventually(lambda: listens(stack.address(ListenPort.FILES)))
        accepted, answer = await filled(browser)
        torn, kept = files_in(room, ".drafts"), files_in(room, "uploads")
        read = {key: await browser.bytes_of(key) for key in accepted}
        for key in accepted:
            await browser.services.storage.DeleteObject(storagepb.DeleteObjectRequest(name=f"objects/{key}"))
        again = await browser.upload(noise(1000))

    assert refusal(answer) == (507, False, "STORAGE_FULL")
    assert accepted
    assert torn == set()
    assert kept == set(accepted)
    assert read == accepted
    assert again.status_code == 200


async def test_a_dead_service_is_503_and_what_it_had_is_there_again(stack: StorageSettings) -> None:
    body = noise(0)
    async with browsing(stack) as browser:
        async with running(stack) as process:
            key = (await browser.upload(body)).raise_for_status().json()["key"]
            process.kill()
            await process.wait()
            answers = [
                await browser.upload(body),
                await browser.gateway.get("/api/get-generated-url", params={"taskId": "gen_1"}),
            ]
        async with running(stack):
            await eventually(lambda: listens(stack.address(ListenPort.FILES)))
            read = await browser.bytes_of(key)

    for answer in answers:
        assert refusal(answer) == (503, False, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) >= 1
    assert read == body
