"""Real Envoys, and processes behind them."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.envoy.render import ADMIN_SOCKET, CONFIGURATION, files
from deploy.launcher.processes import envoy_binary
from deploy.launcher.settings import LauncherSettings
from tests.support.polling import eventually

ROOT = Path(__file__).parents[3]


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True


@asynccontextmanager
async def envoy(
    settings: LauncherSettings, folder: Path, change: Callable[[str], str] = lambda text: text
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Envoy with these settings, in a folder, listening on loopback; `change` may change its configuration."""
    for name, text in files(settings).items():
        (folder / name).write_text(change(text) if name == CONFIGURATION else text, encoding="utf-8")
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warn")
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            envoy_binary(), "-c", CONFIGURATION, *options, cwd=folder, stdout=log, stderr=log
        )
        try:
            await eventually(lambda: listens(settings.port) or _ended(process, folder))
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _ended(process: asyncio.subprocess.Process, folder: Path) -> bool:
    """Never true: Envoy's own words are the reason of the failure."""
    if process.returncode is not None:
        raise AssertionError((folder / "envoy.log").read_text(encoding="utf-8"))
    return False


@asynccontextmanager
async def upstream(
    name: str, port: int, *tls: Path, host: str = "127.0.0.1"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that Envoy may send requests to."""
    command = (sys.executable, "-m", "tests.deploy.envoy.upstream", name, host, str(port), *map(str, tls))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        await eventually(lambda: listens(port, host))
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@dataclass(frozen=True)
class Admin:
    """Envoy's admin socket in its folder."""

    folder: Path

    async def get(self, path: str, **params: str) -> httpx.Response:
        """GET of its interface."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.folder / ADMIN_SOCKET))
        async with httpx.AsyncClient(base_url="http://admin", transport=transport) as client:
            return await client.get(path, params=params)
