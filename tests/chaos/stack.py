"""A stack made to be killed, without the launcher and its patience: every service, Valkey, and the provider."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from services.chassis.settings import CommonSettings
from tests.chaos.diary import Diary
from tests.chaos.process import OFFSETS, Faults, Life, StackProcess, calm, process
from tests.chaos.proxy import Proxy
from tests.e2e.stack import BLOCK, ROOT, free_base

KINDS = tuple(kind for kind in OFFSETS if kind != "community")  # what the way of a generation needs
READY_SECONDS = 120.0  # a busy machine starts slowly
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
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "json",
    "AUTH_DEV_MODE": "1",
    "RATE_LIMITS_ENABLED": "0",  # all of the load comes from one address
    "FAILPOINT_HANG_SECONDS": str(3 * LEASE_SECONDS),
}


@dataclass
class ChaosStack:
    """Its processes, the toxic proxy before the provider, and what befell them."""

    base: int
    data: Path
    seed: str
    proxy: Proxy
    processes: dict[str, StackProcess]
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
    def settings(self) -> CommonSettings:
        """Where its databases are."""
        return CommonSettings(data_dir=self.data, database_url=self.environment.get("DATABASE_URL", ""), _env_file=None)

    @property
    def diary(self) -> Diary:
        """What its processes wrote."""
        return Diary(self.data)

    @property
    def lives(self) -> list[Life]:
        """Every life of each process so far."""
        return [life for each in self.processes.values() for life in each.past]

    def pids(self) -> list[int]:
        """The generation processes that live now."""
        found = [each.process for name, each in self.processes.items() if name.startswith("generation")]
        return [process.pid for process in found if process is not None and process.pid]

    def fault_of(self, name: str, life: int) -> Mapping[str, str]:
        """What the next life of a process is given, as the weather is now."""
        return self.faults(name, life)

    @property
    def deaths(self) -> int:
        return sum(process.deaths for process in self.processes.values())

    async def ready(self) -> None:
        """Wait until every process listens."""
        for each in self.processes.values():
            await listening(each.port)

    async def restart(self, *names: str) -> None:
        """Kill processes; they come back with the faults of now."""
        before = {name: self.processes[name].lives for name in names or tuple(self.processes)}
        for name in before:
            self.processes[name].kill()
        await asyncio.gather(*(self.processes[name].reborn(life, READY_SECONDS) for name, life in before.items()))
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
async def running(
    data: Path,
    seed: str,
    settings: Mapping[str, str] = MappingProxyType({}),
    kinds: Collection[str] = KINDS,
    *,
    twins: bool = False,
    prepare: Callable[[], None] = lambda: None,
) -> AsyncIterator[ChaosStack]:
    """Start a stack in calm weather, with one generation or two, and end it at the end without ceremony.

    prepare is called between the migration of the databases and the start of the first process.
    """
    base = free_base()
    async with AsyncExitStack() as exits:
        proxy = await proxied(exits, Proxy(base + OFFSETS["sandbox"], seed, {}))
        environment = {**surroundings(base, data, seed, proxy), **settings}
        await asyncio.to_thread(migrate, data, environment)
        prepare()
        processes = {name: process(name, name, base, environment) for name in kinds}
        if twins:
            processes[TWIN] = await twin(exits, base, environment)
        stack = ChaosStack(base, data, seed, proxy, processes, environment)
        proxy.callers = stack.pids
        tasks = [asyncio.create_task(r.live(stack.fault_of)) for r in processes.values()]
        exits.push_async_callback(end, tasks)
        await stack.ready()
        yield stack


async def proxied(exits: AsyncExitStack, proxy: Proxy) -> Proxy:
    """Open a proxy until the stack is left."""
    await proxy.up()
    exits.push_async_callback(proxy.close)
    return proxy


async def twin(exits: AsyncExitStack, base: int, environment: Mapping[str, str]) -> StackProcess:
    """A second generation, on a block of its own where it finds the same storage."""
    other = free_base()
    relay = Proxy(base + OFFSETS["storage"], "relay", {})
    relay.port = other + OFFSETS["storage"]
    await proxied(exits, relay)
    return process(TWIN, "generation", other, {**environment, "INTERNAL_PORT_BASE": str(other)})


def surroundings(base: int, data: Path, seed: str, proxy: Proxy) -> dict[str, str]:
    """The environment of every process."""
    sandbox = f"127.0.0.1:{base + OFFSETS['sandbox']}"
    return SETTINGS | {
        "INTERNAL_PORT_BASE": str(base),
        "PORT": str(base + BLOCK - 1),
        "DATA_DIR": str(data),
        "APP_URL": f"http://127.0.0.1:{base + OFFSETS['gateway']}",
        "KIE_AI_BASE_URL": f"http://127.0.0.1:{proxy.port}",
        "REDIS_URL": f"redis://127.0.0.1:{base + OFFSETS['valkey']}",
        "OUTBOUND_ALLOW_PRIVATE": sandbox,
        "FAILPOINT_LOG": str(Diary(data).hit_log),
        "FAILPOINT_SEED": seed,
        "FAILPOINT_EPOCH": f"{time.time() - time.monotonic():.6f}",
    }


def migrate(data: Path, environment: Mapping[str, str]) -> None:
    """Make the databases."""
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "deploy.cli.main", "migrate"]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Kill what is left."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def dice_of(seed: str, purpose: str) -> random.Random:
    """Chances of one kind, the same for the same seed."""
    return random.Random(f"{seed}/{purpose}")
