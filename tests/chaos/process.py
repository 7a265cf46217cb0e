"""Processes that are restarted whenever they end: forks of a server with all modules loaded, in a tenth of a second."""

import asyncio
import ctypes
import math
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from deploy.launcher import processes
from services.chassis import failpoints
from services.chassis.addresses import LOOPBACK
from tests.chaos import dropped_answers

PR_SET_PDEATHSIG = 1  # linux/prctl.h
OFFSETS = {"gateway": 0, "generation": 1, "storage": 2, "share": 3, "community": 4, "sandbox": 6, "valkey": 7}
LOOK_SECONDS = 0.02  # a fork takes about as long
PRELOADED = (
    "gateway.app",
    "services.community.composition",
    "services.community.stores.read_models",
    "services.generation.workers.loops",
    "services.generation.servicer",
    "services.generation.stores.key_pool",
    "services.sandbox.app",
    "services.sandbox.painter",
    "services.share.core.shares",
    "services.share.servicer",
    "services.share.stores.shares",
    "services.storage.fetcher",
    "services.storage.listener",
    "services.storage.servicer",
    "services.chassis.server",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "tests.chaos.checker",
    "tests.chaos.order_clients",
    "tests.chaos.random_faults",
)
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(list(PRELOADED))
Faults = Callable[[str, int], Mapping[str, str]]
"""The variables that a run of a process is given, by the process's name and how often it was started before."""


def no_faults(_name: str, _start: int) -> Mapping[str, str]:
    """No variables: nothing is injected."""
    return {}


def become(command: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """Turn a fresh fork into a process of the stack: a module of ours, or a program."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(vars(forkserver._forkserver)["_forkserver_alive_fd"])  # else the fork server outlives the harness
    os.environ.update(environment)
    failpoints.FAILPOINTS = failpoints.Failpoints(environment)  # the fork server was loaded without any
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if command[0].startswith("/"):
        os.execv(command[0], list(command))  # noqa: S606 - no shell is wanted
    if "LD_PRELOAD" in environment:  # a library that is loaded at the start of a program, and only then
        os.execv(sys.executable, [sys.executable, "-m", command[0]])  # noqa: S606
    dropped_answers.install(environment)
    sys.argv = [command[0]]
    sys.modules.pop(f"{command[0]}.__main__", None)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


@dataclass
class ProcessRun:
    """One run of a process, by seconds since 1970; `ended` is infinite while it runs."""

    name: str
    pid: int
    started: float
    ended: float = math.inf


@dataclass
class StackProcess:
    """One process of the stack, started again whenever it ends; `codes` are its exit codes."""

    name: str
    command: Sequence[str]
    port: int
    environment: Mapping[str, str]
    log: Path
    ends: int = 0
    freezes: int = 0
    runs: list[ProcessRun] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    starts: int = 0
    started: float = 0.0
    process: BaseProcess | None = None

    async def run_forever(self, faults: Faults) -> None:
        """Start the process again and again, with the faults for each run."""
        while True:
            await self._once(faults(self.name, self.starts))
            self.ends += 1

    async def _once(self, faults: Mapping[str, str]) -> None:
        seed = f"{self.environment['FAILPOINT_SEED']}/{self.name}/{self.starts}"
        environment = {**self.environment, "FAILPOINT_SEED": seed, **faults}
        self.starts += 1
        self.started = time.time()
        process = FORK_SERVER.Process(target=become, args=(self.command, environment, str(self.log)))
        process.start()
        self.process = process
        run = ProcessRun(self.name, process.pid or 0, self.started)
        self.runs.append(run)
        over = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(process.sentinel, over.set_result, None)
        try:
            await over
        finally:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            process.join()
            run.ended = time.time()
            self.codes.append(process.exitcode or 0)

    async def wait_for_restart(self, starts: int, seconds: float) -> None:
        """Wait until the process was started more often than `starts` times. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self.starts <= starts:  # noqa: ASYNC110 - a count that another task keeps
                await asyncio.sleep(LOOK_SECONDS)

    def terminate(self) -> bool:
        """Send SIGTERM; False when the process does not run."""
        return self._signal(signal.SIGTERM)

    def kill(self) -> bool:
        """Send SIGKILL; False when the process does not run."""
        return self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Send SIGSTOP."""
        self.freezes += self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self._signal(signal.SIGCONT)

    async def freeze(self, seconds: float) -> None:
        """Send SIGSTOP, and SIGCONT some seconds later; a process that was started meanwhile is not harmed by that."""
        self.freezes += self._signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> bool:
        if self.process is None or self.process.pid is None or not self.process.is_alive():
            return False
        os.kill(self.process.pid, number)
        return True


def process(name: str, kind: str, base: int, environment: Mapping[str, str]) -> StackProcess:
    """A process with its port in a block of ports."""
    folder = Path(environment["DATA_DIR"])
    return StackProcess(name, command_of(kind, base, folder), base + OFFSETS[kind], environment, folder / f"{name}.log")


def command_of(kind: str, base: int, folder: Path) -> Sequence[str]:
    """The module of ours, or Valkey's program; it keeps an append-only file, as in a real stack."""
    if kind == "valkey":
        arguments = ("--bind", LOOPBACK, "--port", str(base + OFFSETS[kind]), "--dir", str(folder))
        return (processes.valkey_binary(), *arguments, "--appendonly", "yes", "--save", "")
    return ("gateway" if kind == "gateway" else f"services.{kind}",)
