"""A town made to be killed: its processes are forks of a warm server, so that a restart takes a tenth of a second."""

import asyncio
import ctypes
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path

from services.chassis import failpoints
from services.chassis.settings import TownSettings
from tests.chaos.proxy import Proxy
from tests.e2e.town import BLOCK, ROOT, free_base

PR_SET_PDEATHSIG = 1  # linux/prctl.h
READY_SECONDS = 30.0
WARM = (
    "gateway.app",
    "services.generation.core.loops",
    "services.generation.servicer",
    "services.generation.stores.keys",
    "services.sandbox.app",
    "services.sandbox.painter.canvas",
    "services.storage.fetcher",
    "services.storage.listener",
    "services.storage.servicer",
    "services.chassis.server",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "tests.chaos.checker",
    "tests.chaos.follower",
    "tests.chaos.weather",
)
MODULES = {"sandbox": "services.sandbox", "storage": "services.storage", "generation": "services.generation"}
OFFSETS = {"gateway": 0, "generation": 1, "storage": 2, "sandbox": 6}
TWIN = "generation-2"
LEASE_SECONDS = 1.5
# Waits are short, so that minutes of storm hold years of bad days; the promises do not depend on them.
SETTINGS = {
    "GENERATION_CREATE_WAIT_SECONDS": "0.5",
    "GENERATION_LEASE_SECONDS": str(LEASE_SECONDS),
    "GENERATION_UNKNOWN_AFTER_SECONDS": "4",
    "GENERATION_TIMEOUT_SECONDS": "300",
    "GENERATION_COPY_PATIENCE_SECONDS": "1",
    "GENERATION_CREATES_PER_WINDOW": "1000",
    "GENERATION_SUBMITS_AT_ONCE": "8",
    "KIE_AI_API_KEY": "sandbox-a",
    "KIE_AI_API_KEY_2": "sandbox-b",
    "KIE_AI_API_KEY_3": "sandbox-c",
    "KIE_AI_API_KEY_4": "sandbox-d",
    "KIE_AI_API_KEY_5": "sandbox-e",
    "SANDBOX_CREDITS": "10000000",
    "SANDBOX_CREATE_LIMIT": "100000",
    "SANDBOX_GENERATION_SECONDS": "0.3",
    "SANDBOX_IMAGE_SIDE": "64",
    "SANDBOX_CALLBACK_RETRY_SECONDS": "0.5,1,2",
    "REDIS_URL": "none",
    "LOG_LEVEL": "warning",
    "LOG_FORMAT": "json",
    "AUTH_DEV_MODE": "1",
    "FAILPOINT_HANG_SECONDS": str(3 * LEASE_SECONDS),
}
Faults = Callable[[str, int], Mapping[str, str]]
"""What FAILPOINT variables a life of a process is given, by the process's name and the number of the life."""


def calm(_name: str, _life: int) -> Mapping[str, str]:
    """No faults."""
    return {}


def incarnate(module: str, environment: Mapping[str, str], log: str) -> None:
    """Become a process of the town; runs in a fresh fork."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(forkserver._forkserver._forkserver_alive_fd)  # or the warm server would outlive the harness with us
    os.environ.update(environment)
    failpoints.FAILPOINTS = failpoints.Failpoints(environment)  # the warm server was loaded without any
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = [module]
    sys.modules.pop(f"{module}.__main__", None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@dataclass
class Resident:
    """One process of the town, alive again right after each death."""

    name: str
    module: str
    port: int
    environment: Mapping[str, str]
    log: Path
    deaths: list[float] = field(default_factory=list)
    lives: int = 0
    born: float = 0.0
    process: "multiprocessing.process.BaseProcess | None" = None

    async def live(self, faults: Faults) -> None:
        """Run for ever."""
        while True:
            await self._once(faults(self.name, self.lives))
            self.deaths.append(time.time())

    async def _once(self, faults: Mapping[str, str]) -> None:
        seed = f"{self.environment['FAILPOINT_SEED']}/{self.name}/{self.lives}"
        environment = {**self.environment, "FAILPOINT_SEED": seed, **faults}
        self.lives += 1
        self.born = time.time()
        process = FORKS.Process(target=incarnate, args=(self.module, environment, str(self.log)))
        process.start()
        self.process = process
        over = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(process.sentinel, over.set_result, None)
        try:
            await over
        finally:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            process.join()

    def kill(self) -> bool:
        """SIGKILL; False when there is nobody to kill."""
        if self.process is None or self.process.pid is None or not self.process.is_alive():
            return False
        os.kill(self.process.pid, signal.SIGKILL)
        return True


FORKS = multiprocessing.get_context("forkserver")


@dataclass
class ChaosTown:
    """Four kinds of processes, the toxic proxy between two of them, and what befell them."""

    base: int
    data: Path
    seed: str
    proxy: Proxy
    residents: dict[str, Resident]
    environment: Mapping[str, str]
    faults: Faults = calm

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.base + OFFSETS['gateway']}"

    @property
    def sandbox(self) -> str:
        return f"http://127.0.0.1:{self.base + OFFSETS['sandbox']}"

    @property
    def generation(self) -> str:
        return f"127.0.0.1:{self.base + OFFSETS['generation']}"

    @property
    def settings(self) -> TownSettings:
        """Where its databases are."""
        return TownSettings(data_dir=self.data, database_url=self.environment.get("DATABASE_URL", ""), _env_file=None)

    def hits(self) -> list[tuple[float, str, str]]:
        """When which failpoint did what."""
        lines = self.hit_log.read_text().splitlines() if self.hit_log.exists() else []
        parts = [line.split() for line in lines]
        return [(float(when), name, action) for when, name, action, _ in parts]

    @property
    def strikes(self) -> list[float]:
        """When a generation process died, failed or stood still."""
        deaths = [when for name, found in self.residents.items() if "generation" in name for when in found.deaths]
        return [*deaths, *(when for when, _, action in self.hits() if action in {"error", "hang"})]

    @property
    def hit_log(self) -> Path:
        return self.data / "failpoints.log"

    def counted(self, action: str) -> Counter[str]:
        """How often each failpoint did this."""
        return Counter(name for _, name, done in self.hits() if done == action)

    def fault_of(self, name: str, life: int) -> Mapping[str, str]:
        """What the next life of a process is given, as the weather is now."""
        return self.faults(name, life)

    @property
    def deaths(self) -> int:
        return sum(len(resident.deaths) for resident in self.residents.values())

    async def ready(self) -> None:
        """Wait until every process listens."""
        for resident in self.residents.values():
            await listening(resident.port)

    async def restart(self, *names: str) -> None:
        """Kill processes; they come back with the faults of now."""
        for name in names or tuple(self.residents):
            self.residents[name].kill()
        await asyncio.sleep(0.05)  # the dead still hold their ports for a moment
        await self.ready()


async def listening(port: int) -> None:
    """Wait for a listener."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"nobody listens on port {port}")


@asynccontextmanager
async def running(data: Path, seed: str, *, twins: bool = False, **settings: str) -> AsyncIterator[ChaosTown]:
    """Start a town in calm weather, with one generation or two, and end it at the end without ceremony."""
    FORKS.set_forkserver_preload(list(WARM))
    base = free_base()
    async with AsyncExitStack() as stack:
        proxy = await proxied(stack, Proxy(base + OFFSETS["sandbox"], seed, {}))
        environment = surroundings(base, data, seed, proxy) | settings
        await asyncio.to_thread(migrate, data, environment)
        residents = {name: resident(name, name, base, environment) for name in OFFSETS}
        if twins:
            residents[TWIN] = await twin(stack, base, environment)
        town = ChaosTown(base, data, seed, proxy, residents, environment)
        tasks = [asyncio.create_task(r.live(town.fault_of)) for r in residents.values()]
        stack.push_async_callback(end, tasks)
        await town.ready()
        yield town


async def proxied(stack: AsyncExitStack, proxy: Proxy) -> Proxy:
    """Open a proxy until the stack is left."""
    await proxy.up()
    stack.push_async_callback(proxy.close)
    return proxy


def resident(name: str, kind: str, base: int, environment: Mapping[str, str]) -> Resident:
    """A process on its port of a block."""
    log = Path(environment["DATA_DIR"]) / f"{name}.log"
    return Resident(name, MODULES.get(kind, kind), base + OFFSETS[kind], environment, log)


async def twin(stack: AsyncExitStack, base: int, environment: Mapping[str, str]) -> Resident:
    """A second generation, on a block of its own where it finds the same storage."""
    other = free_base()
    relay = Proxy(base + OFFSETS["storage"], "relay", {})
    relay.port = other + OFFSETS["storage"]
    await proxied(stack, relay)
    return resident(TWIN, "generation", other, {**environment, "INTERNAL_PORT_BASE": str(other)})


def surroundings(base: int, data: Path, seed: str, proxy: Proxy) -> dict[str, str]:
    """The environment of every process."""
    sandbox = f"127.0.0.1:{base + OFFSETS['sandbox']}"
    return SETTINGS | {
        "INTERNAL_PORT_BASE": str(base),
        "PORT": str(base + BLOCK - 1),
        "DATA_DIR": str(data),
        "APP_URL": f"http://127.0.0.1:{base + OFFSETS['gateway']}",
        "KIE_AI_BASE_URL": f"http://127.0.0.1:{proxy.port}",
        "OUTBOUND_ALLOW_PRIVATE": sandbox,
        "FAILPOINT_LOG": str(data / "failpoints.log"),
        "FAILPOINT_SEED": seed,
    }


def migrate(data: Path, environment: Mapping[str, str]) -> None:
    """Make the databases."""
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "deploy.cli", "migrate"]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Kill what is left."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def dice_of(seed: str, purpose: str) -> random.Random:
    """Chances of one kind, the same for the same seed."""
    return random.Random(f"{seed}/{purpose}")
