"""Processes are kept alive, stopped within their bound, and end with a killed launcher."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from deploy.launcher import plan
from deploy.launcher.model import LaunchError, Probe, Process, get
from deploy.launcher.plan import settle
from deploy.launcher.preflight import prepare
from deploy.launcher.readiness import lives
from deploy.launcher.supervisor import MISSES, Backoff, Child, Pauses
from tests.support.polling import eventually, until

Python = Callable[..., Process]

DIARY = "import os, pathlib; diary = pathlib.Path('diary').open('a'); print(os.getpid(), file=diary, flush=True)\n"
QUICK = Pauses(look=0.02, answer=2.0, start=600.0)
# For one that is stopped once it answers a test: the launcher may not have asked it yet, and thinks that it starts.
STARTED = replace(QUICK, answer=0.5, start=10.0)
LIVING = """
import asyncio
from services.chassis.addresses import Address
from services.chassis.health import Readiness
from services.chassis.metrics import MetricsServer
asyncio.run(MetricsServer(Address("127.0.0.1", {port}), Readiness()).run())
"""
SLEEP = "import time; time.sleep(600)\n"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
POLITE = (
    "import signal, sys\n"
    "def end(*_): print('goodbye', file=diary, flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
)
WORKER = (
    "import subprocess, sys\n"
    "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(worker.pid, file=diary, flush=True)\n"
)


def diary() -> list[str]:
    file = Path("diary")
    return file.read_text(encoding="utf-8").split() if file.exists() else []


class Start(Protocol):
    """Let a child live."""

    def __call__(
        self, process: Process, *, opened: bool = True, pauses: Pauses = QUICK
    ) -> tuple[Child, asyncio.Task[None]]: ...


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Let children live; whatever is left of them is killed after the test."""
    started: list[tuple[Child, asyncio.Task[None]]] = []

    def begin(process: Process, *, opened: bool = True, pauses: Pauses = QUICK) -> tuple[Child, asyncio.Task[None]]:
        child = Child(process, dict(os.environ), text=False, pauses=pauses)
        started.append((child, asyncio.create_task(child.live(lambda: opened))))
        return started[-1]

    yield begin
    for child, task in started:
        child.kill()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await child.stop()


async def test_a_killed_process_is_started_again(start: Start, python: Python) -> None:
    start(python("share", DIARY + SLEEP))
    await eventually(lambda: len(diary()) == 1)

    os.kill(int(diary()[0]), signal.SIGKILL)
    await eventually(lambda: len(diary()) == 2)

    assert diary()[0] != diary()[1]


async def test_what_a_crashed_process_left_behind_is_ended(
    start: Start, python: Python, alive: Callable[[int], bool]
) -> None:
    start(python("storage", DIARY + WORKER + SLEEP))
    await eventually(lambda: len(diary()) == 2)
    leader, worker = map(int, diary())

    os.kill(leader, signal.SIGKILL)

    await eventually(lambda: not alive(worker))


async def test_a_process_that_ends_on_sigterm_is_left_to_do_so(start: Start, python: Python) -> None:
    child, task = start(python("share", DIARY + POLITE + "print('ready', file=diary, flush=True)\n" + SLEEP))
    await eventually(lambda: "ready" in diary())

    task.cancel()
    await child.stop()

    assert diary()[1:] == ["ready", "goodbye"]


async def test_a_process_that_ignores_sigterm_is_killed_after_its_bound(
    start: Start, python: Python, alive: Callable[[int], bool], capfd: pytest.CaptureFixture[str]
) -> None:
    child, task = start(python("share", STUBBORN + DIARY + SLEEP, stop_seconds=0.2))
    await eventually(diary)

    task.cancel()
    await child.stop()

    assert not alive(int(diary()[0]))
    assert '"event": "process_killed"' in capfd.readouterr().err


async def test_a_process_that_refuses_its_configuration_ends_the_start(start: Start, python: Python) -> None:
    _, task = start(python("generation", "raise SystemExit(78)"), opened=False)

    with pytest.raises(LaunchError, match="generation does not accept its configuration"):
        await task


async def test_a_process_that_keeps_failing_ends_the_start(start: Start, python: Python) -> None:
    _, task = start(python("gateway", DIARY + "raise SystemExit(3)"), opened=False)

    with pytest.raises(LaunchError, match=r"gateway failed 5 times \(exit code 3\)"):
        await task
    assert len(diary()) == 5


async def test_a_process_that_refuses_its_configuration_later_is_tried_again(start: Start, python: Python) -> None:
    """The rest of the stack serves on; mending the configuration mends the process."""
    start(python("generation", DIARY + "raise SystemExit(78)"))

    await eventually(lambda: len(diary()) > 1)


async def test_each_restart_is_recorded(start: Start, python: Python, capfd: pytest.CaptureFixture[str]) -> None:
    start(python("share", DIARY + "raise SystemExit(1)"))
    await eventually(lambda: len(diary()) > 1)

    assert '"event": "process_restarts"' in (line := capfd.readouterr().err)
    assert '"process": "share", "exit_code": 1, "seconds": 0.1' in line


async def test_on_a_terminal_each_line_stands_under_its_name(
    python: Python, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    child = Child(python("share", "print('one\\ntwo', end='')"), dict(os.environ), text=True)

    await child.run()

    # gRPC, when another test has loaded it into this process, writes lines of its own at a fork.
    lines = [line for line in capfdbinary.readouterr().err.decode().splitlines() if "│" in line]
    assert lines == ["share      │ one", "share      │ two"]


def test_the_wait_doubles_up_to_a_bound_and_a_steady_life_resets_it() -> None:
    backoff = Backoff()

    assert [backoff.after(0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.after(10.0) == 0.1


async def test_a_process_sees_its_own_secrets_and_no_others(start: Start, python: Python) -> None:
    mine = replace(python("mine", DIARY + SLEEP), environment={"EXPORT_TOKEN": "a-canary"})
    start(mine)
    await eventually(lambda: len(diary()) == 1)
    start(python("other", DIARY + SLEEP))
    await eventually(lambda: len(diary()) == 2)

    seen = ["a-canary" in psutil.Process(int(pid)).environ().values() for pid in diary()]

    assert seen == [True, False]


async def test_a_process_that_hangs_is_started_again(
    start: Start, python: Python, base: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGSTOP: the process lives and holds its port, but nothing of it moves, so SIGTERM does not end it either."""
    probe = get("/livez", base)
    start(replace(python("share", DIARY + LIVING.format(port=base), stop_seconds=0.2), probe=probe), pauses=STARTED)
    await answering(probe)
    first = diary()

    os.kill(int(first[0]), signal.SIGSTOP)
    await eventually(lambda: len(diary()) > 1)
    await answering(probe)

    err = capfd.readouterr().err
    assert len(first) == 1
    assert '"event": "process_hangs"' in err
    assert '"event": "process_killed"' in err


async def test_a_process_that_hangs_before_it_ever_answered_is_started_again(
    start: Start, python: Python, base: int
) -> None:
    start(replace(python("share", DIARY + SLEEP), probe=get("/livez", base)), pauses=replace(QUICK, start=3.0))

    await eventually(lambda: len(diary()) > 1)


async def test_a_process_that_is_starting_is_left_alone(start: Start, python: Python, base: int) -> None:
    """It is looked at as often as would end one that had answered before."""
    asked: list[object] = []
    server = await asyncio.start_server(lambda _, writer: (asked.append(writer), writer.close()), "127.0.0.1", base)
    start(replace(python("share", DIARY + SLEEP), probe=get("/livez", base)))
    await eventually(lambda: len(asked) > 3 * MISSES)
    server.close()

    assert len(diary()) == 1


@pytest.mark.parametrize("name", ["envoy", "valkey", "sandbox"])
async def test_a_server_that_hangs_is_started_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, base: int, tmp_path: Path, name: str
) -> None:
    """In a folder whose name leaves no room for a socket's."""
    settings = {"INTERNAL_PORT_BASE": base, "PORT": base + 15, "DATA_DIR": tmp_path / ("long" * 30)}
    for variable, value in settings.items():
        monkeypatch.setenv(variable, str(value))
    made = plan.make(settle())
    prepare(made)
    os.environ.update(made.environment)
    process = next(each for each in made.processes if each.name == name)
    assert process.probe
    child, _ = start(replace(process, stop_seconds=0.2), pauses=STARTED)
    await answering(process.probe, process.folder)
    first = number(child)

    os.kill(first, signal.SIGSTOP)
    await eventually(lambda: number(child) not in {0, first})
    await answering(process.probe, process.folder)


def number(child: Child) -> int:
    """The process's number; 0 while there is none."""
    return child._handle.pid if child._handle else 0


async def answering(probe: Probe, folder: str = "") -> None:
    """Return once a process answers that it lives."""
    for _ in range(600):
        if await lives(probe, folder):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the process never answered")


LAUNCHER = """
import asyncio, os, pathlib, sys
from deploy.launcher.model import Process
from deploy.launcher.supervisor import Child

CHILD = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
asyncio.run(Child(Process("share", (sys.executable, "-c", CHILD)), dict(os.environ), text=False).run())
"""


def child_pid() -> int:
    file = Path("pid")
    return int(file.read_text(encoding="utf-8") or 0) if file.exists() else 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process that its parent died")
def test_a_child_dies_with_a_killed_launcher(alive: Callable[[int], bool]) -> None:
    with subprocess.Popen([sys.executable, "-c", LAUNCHER]) as parent:
        until(child_pid)
        parent.send_signal(signal.SIGKILL)

    until(lambda: not alive(child_pid()))
