"""A whole run with stand-in processes: start, message, stop, and every way in which a start is refused."""

import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from deploy.launcher.model import Plan, Port, Process
from tests.support.polling import until

Python = Callable[..., Process]
Launch = Callable[[Plan], "Launched"]

RUN = """
import asyncio, pathlib, pickle, sys, time
from deploy.launcher.model import LaunchError
from deploy.launcher.run import live

async def main():
    return await live(pickle.loads(pathlib.Path("plan").read_bytes()), asyncio.Event(), time.monotonic())

try:
    sys.exit(asyncio.run(main()))
except LaunchError as error:
    sys.exit(str(error))
"""
DIARY = (
    "import signal, sys, time, pathlib\n"
    "def note(text): print(text, file=pathlib.Path('diary').open('a'), flush=True)\n"
    "def end(*_): note('{name} ends'); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "note('{name} starts')\n"
)
SLEEP = "time.sleep(600)\n"
SERVER = (
    "import http.server\n"
    "class Ready(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self): self.send_response(200); self.send_header('content-length', '0'); self.end_headers()\n"
    "    def log_message(self, *_): pass\n"
    "http.server.HTTPServer(('127.0.0.1', {port}), Ready).serve_forever()\n"
)


class Launched:
    """A launcher in a process of its own."""

    def __init__(self, plan: Plan, output: IO[bytes]) -> None:
        Path("plan").write_bytes(pickle.dumps(plan))
        self.process = subprocess.Popen([sys.executable, "-c", RUN], stdout=output, stderr=output)

    @property
    def said(self) -> str:
        """Everything that it and its children wrote."""
        return Path("output").read_text(encoding="utf-8")

    def ends(self) -> int:
        """Wait for its exit code."""
        return self.process.wait(timeout=30)


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start a launcher; it is killed after the test, and its children with it."""
    started: list[Launched] = []
    with Path("output").open("ab") as output:

        def begin(plan: Plan) -> Launched:
            started.append(Launched(plan, output))
            return started[-1]

        yield begin
        for launched in started:
            launched.process.kill()
            launched.process.wait()


@pytest.fixture
def stack(python: Python, plan: Callable[..., Plan], base: int) -> Plan:
    """Three processes; the last one answers for all."""
    gateway = (DIARY + SERVER).format(name="gateway", port=base)
    return plan(
        python("storage", DIARY.format(name="storage") + SLEEP, migrated=True),
        python("generation", DIARY.format(name="generation") + SLEEP, migrated=True),
        python("gateway", gateway),
    )


def diary() -> list[str]:
    file = Path("diary")
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_a_ready_stack_says_where_it_is_and_stops_backwards(launch: Launch, stack: Plan) -> None:
    launched = launch(stack)
    until(lambda: "kawaii is ready" in launched.said and len(diary()) == 3)

    launched.process.send_signal(signal.SIGTERM)

    assert launched.ends() == 0
    assert diary()[3:] == ["gateway ends", "generation ends", "storage ends"]
    assert all(
        word in launched.said
        for word in (stack.origin, stack.data_dir, stack.upstream, "on loopback", "Ctrl-C", "Stopped.")
    )


def test_the_databases_come_before_their_services(launch: Launch, stack: Plan, python: Python) -> None:
    migration = python("migrate", DIARY.format(name="migration") + "time.sleep(0.2); note('migrated')").command
    launched = launch(replace(stack, migration=migration))
    until(lambda: "kawaii is ready" in launched.said and len(diary()) == 5)

    assert diary().index("migrated") < diary().index("storage starts")
    assert diary().index("migrated") < diary().index("generation starts")


def test_a_failed_migration_stops_the_stack(launch: Launch, stack: Plan, python: Python) -> None:
    launched = launch(replace(stack, migration=python("migrate", "raise SystemExit('no room')").command))

    assert launched.ends() == 1
    assert "no room" in launched.said
    assert "The databases could not be prepared (exit code 1)" in launched.said
    assert "storage starts" not in diary()


def test_a_process_that_cannot_start_stops_the_stack(launch: Launch, stack: Plan, python: Python) -> None:
    broken = python("share", "import sys; sys.stderr.write('SHARE_LIST_POLICY is wrong'); raise SystemExit(78)")
    launched = launch(replace(stack, processes=(*stack.processes, broken)))

    assert launched.ends() == 1
    assert "SHARE_LIST_POLICY is wrong" in launched.said
    assert "share does not accept its configuration" in launched.said


def test_a_second_signal_kills_at_once(launch: Launch, python: Python, plan: Callable[..., Plan], base: int) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER.format(port=base)
    launched = launch(plan(python("gateway", stubborn, stop_seconds=600)))
    until(lambda: "kawaii is ready" in launched.said)

    launched.process.send_signal(signal.SIGINT)
    until(lambda: "Stopping." in launched.said)
    launched.process.send_signal(signal.SIGINT)

    assert launched.ends() == 130


def test_a_second_stack_on_the_same_data_is_refused(launch: Launch, stack: Plan) -> None:
    first = launch(stack)
    until(lambda: "kawaii is ready" in first.said)

    assert launch(stack).ends() == 1
    assert f"Another stack (process {first.process.pid}) already runs on the data in {stack.data_dir}" in first.said
    assert len(diary()) == 3


def test_a_busy_port_is_refused_before_anything_starts(launch: Launch, stack: Plan, base: int) -> None:
    door = Port("127.0.0.1", base, "the public port", "PORT")
    with socket.create_server((door.host, door.port)):
        launched = launch(replace(stack, ports=(door,)))

        assert launched.ends() == 1
    assert f"127.0.0.1:{base} (the public port): set PORT" in launched.said
    assert diary() == []
