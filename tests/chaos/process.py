"""The processes of a stack made to be killed: forks of a warm server, so that a restart takes a tenth of a second."""

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

from deploy.launcher import binaries
from services.chassis import failpoints
from services.chassis.listen_addresses import LOOPBACK
from tests.chaos import sabotage

PR_SET_PDEATHSIG = 1  # linux/prctl.h
OFFSETS = {"gateway": 0, "generation": 1, "storage": 2, "share": 3, "community": 4, "sandbox": 6, "valkey": 7}
LOOK_SECONDS = 0.02  # a fork takes about as long
WARM = (
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
    "services.share.stores.cached",
    "services.storage.fetcher",
    "services.storage.listener",
    "services.storage.servicer",
    "services.chassis.server",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "tests.chaos.checker",
    "tests.chaos.errands",
    "tests.chaos.weather",
)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(list(WARM))
Faults = Callable[[str, int], Mapping[str, str]]
"""What FAILPOINT variables a life of a process is given, by the process's name and the number of the life."""


def calm(_name: str, _life: int) -> Mapping[str, str]:
    """No faults."""
    return {}


def incarnate(command: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """Become a process of the stack, a module of ours or a program; runs in a fresh fork."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(vars(forkserver._forkserver)["_forkserver_alive_fd"])  # else the warm server outlives the harness
    os.environ.update(environment)
    failpoints.FAILPOINTS = failpoints.Failpoints(environment)  # the warm server was loaded without any
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if command[0].startswith("/"):
        os.execv(command[0], list(command))  # noqa: S606 - no shell is wanted
    if "LD_PRELOAD" in environment:  # a library that is loaded at the start of a program, and only then
        os.execv(sys.executable, [sys.executable, "-m", command[0]])  # noqa: S606
    sabotage.begin(environment)
    sys.argv = [command[0]]
    sys.modules.pop(f"{command[0]}.__main__", None)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


@dataclass
class Life:
    """One life of a process: its pid, from when to when in seconds since 1970; died is infinite while it lives."""

    name: str
    pid: int
    born: float
    died: float = math.inf


@dataclass
class StackProcess:
    """One process of the stack, alive again right after each death."""

    name: str
    command: Sequence[str]
    port: int
    environment: Mapping[str, str]
    log: Path
    deaths: int = 0
    freezes: int = 0
    past: list[Life] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    lives: int = 0
    born: float = 0.0
    process: BaseProcess | None = None

    async def live(self, faults: Faults) -> None:
        """Run for ever."""
        while True:
            await self._once(faults(self.name, self.lives))
            self.deaths += 1

    async def _once(self, faults: Mapping[str, str]) -> None:
        seed = f"{self.environment['FAILPOINT_SEED']}/{self.name}/{self.lives}"
        environment = {**self.environment, "FAILPOINT_SEED": seed, **faults}
        self.lives += 1
        self.born = time.time()
        process = FORKS.Process(target=incarnate, args=(self.command, environment, str(self.log)))
        process.start()
        self.process = process
        life = Life(self.name, process.pid or 0, self.born)
        self.past.append(life)
        over = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(process.sentinel, over.set_result, None)
        try:
            await over
        finally:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            process.join()
            life.died = time.time()
            self.codes.append(process.exitcode or 0)

    async def reborn(self, life: int, seconds: float) -> None:
        """Wait for a later life than this one. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self.lives <= life:  # noqa: ASYNC110 - a count that another task keeps
                await asyncio.sleep(LOOK_SECONDS)

    def terminate(self) -> bool:
        """SIGTERM, as whoever deploys a new version sends it; False when there is nobody to stop."""
        return self._strike(signal.SIGTERM)

    def kill(self) -> bool:
        """SIGKILL; False when there is nobody to kill."""
        return self._strike(signal.SIGKILL)

    def stop(self) -> None:
        """SIGSTOP."""
        self.freezes += self._strike(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._strike(signal.SIGCONT)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT a while later; who takes its place meanwhile is not hurt by that."""
        self.freezes += self._strike(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._strike(signal.SIGCONT)

    def _strike(self, number: signal.Signals) -> bool:
        if self.process is None or self.process.pid is None or not self.process.is_alive():
            return False
        os.kill(self.process.pid, number)
        return True


def process(name: str, kind: str, base: int, environment: Mapping[str, str]) -> StackProcess:
    """A process on its port of a block."""
    folder = Path(environment["DATA_DIR"])
    return StackProcess(name, command_of(kind, base, folder), base + OFFSETS[kind], environment, folder / f"{name}.log")


def command_of(kind: str, base: int, folder: Path) -> Sequence[str]:
    """A module of ours, or the one program that is not: Valkey, which keeps what it is told as in a real stack."""
    if kind == "valkey":
        place = ("--bind", LOOPBACK, "--port", str(base + OFFSETS[kind]), "--dir", str(folder))
        return (binaries.valkey(), *place, "--appendonly", "yes", "--save", "")
    return ("gateway" if kind == "gateway" else f"services.{kind}",)
