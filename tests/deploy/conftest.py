"""What the launcher's tests share: free ports, stand-in processes, and a way to wait for something to come true."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.launcher.model import Plan, Process
from tests.support.ports import free_base


@pytest.fixture
def base() -> int:
    """The first of a block of free ports."""
    return free_base()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable and no .env of the developer's machine reaches a test, and none that it adopts leaves it."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    for name in before.keys() - {"PATH", "HOME", "LANG"}:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def python() -> Callable[..., Process]:
    """A stand-in process that runs a few lines of Python."""

    def make(name: str, code: str, *, stop_seconds: float = 5.0, migrated: bool = False) -> Process:
        return Process(name, (sys.executable, "-u", "-c", code), stop_seconds, migrated)

    return make


@pytest.fixture
def plan(tmp_path: Path, base: int) -> Callable[..., Plan]:
    """A plan for stand-in processes."""

    def make(*processes: Process, migration: tuple[str, ...] = ()) -> Plan:
        return Plan(
            origin=f"http://localhost:{base}",
            probe_host="127.0.0.1",
            probe_port=base,
            data_dir=str(tmp_path / "data"),
            upstream="sandbox",
            text=False,
            environment=dict(os.environ),
            folders=(),
            files={},
            ports=(),
            processes=processes,
            facts={"address": "on loopback"},
            migration=migration,
        )

    return make


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process still runs (a zombie does not)."""

    def look(pid: int) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        with suppress(OSError):
            return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
        return False

    return look
