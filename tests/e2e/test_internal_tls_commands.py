"""docs/internal-tls.md tells the truth: its lines are run in order, on a process with the certificates they make."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from services.chassis.addresses import ListenPort
from services.chassis.migrations import migrate
from services.chassis.settings import CommonSettings
from tests.support.polling import eventually
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = Path(sys.executable).parent
MAKING, BUF, GRPCURL = BLOCK.findall((ROOT / "docs/internal-tls.md").read_text(encoding="utf-8"))


def run(folder: Path, lines: str, **environment: str) -> str:
    """What the lines print."""
    path = f"{PROGRAMS}:{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", lines]
    done = subprocess.run(
        command, check=False, cwd=folder, env=os.environ | {"PATH": path} | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@asynccontextmanager
async def share(folder: Path) -> AsyncIterator[str]:
    """The address of a share service that has its files from `certs`."""
    base = free_port() - ListenPort.SHARE
    settings = CommonSettings(data_dir=folder, database_url="", _env_file=None)
    await asyncio.to_thread(migrate, "share", settings)
    environment = os.environ | {
        "DATA_DIR": str(folder),
        "REDIS_URL": "none",
        "INTERNAL_PORT_BASE": str(base),
        "INTERNAL_TLS_CERT": str(folder / "certs/share.crt"),
        "INTERNAL_TLS_KEY": str(folder / "certs/share.key"),
        "INTERNAL_TLS_CA": str(folder / "certs/ca.crt"),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.share", cwd=ROOT, env=environment)

    async def ready() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{base + ListenPort.SHARE_METRICS}/readyz")
        except httpx.TransportError:
            return False
        return answer.is_success

    try:
        await eventually(ready)
        yield f"127.0.0.1:{base + ListenPort.SHARE}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("program", ["buf", "grpcurl"])
async def test_the_lines_of_the_documentation_work(tmp_path: Path, program: str) -> None:
    if shutil.which(program, path=f"{PROGRAMS}:{os.environ['PATH']}") is None:
        pytest.skip(f"{program} is not installed here")
    made = run(tmp_path, MAKING)
    async with share(tmp_path) as address:
        answered = await asyncio.to_thread(run, tmp_path, BUF if program == "buf" else GRPCURL, SHARE=address)

    assert "operator.kawaii.internal" in made
    assert "kawaii.share.v1.ShareService" in answered
    assert "kawaii.share.v1.ShareAdminService" in answered
    assert "SERVING" in answered if program == "buf" else "{" in answered
