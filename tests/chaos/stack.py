"""A stack whose processes are killed and restarted: every service, Valkey and the sandbox, without the launcher."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from services.chassis.settings import CommonSettings
from tests.chaos.process import OFFSETS, Faults, ProcessRun, StackProcess, no_faults, process
from tests.chaos.process_logs import ProcessLogs
from tests.chaos.proxy import ToxicProxy
from tests.e2e.stack import ROOT
from tests.support.ports import BLOCK, free_base, listening

KINDS = tuple(kind for kind in OFFSETS if kind != "community")  # what a generation needs
READY_SECONDS = 120.0  # a busy machine starts slowly
SECOND_GENERATION = "generation-2"
LEASE_SECONDS = 1.5
# Waits are short, so that minutes hold as many faults as months would; the promises do not depend on them.
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
    """The processes of a stack, and the proxy before its provider."""

    base: int
    data: Path
    seed: str
    proxy: ToxicProxy
    processes: dict[str, StackProcess]
    environment: Mapping[str, str]
    faults: Faults = no_faults

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
        """The settings by which its databases are opened."""
        return CommonSettings(data_dir=self.data, database_url=self.environment.get("DATABASE_URL", ""), _env_file=None)

    @property
    def logs(self) -> ProcessLogs:
        """The logs of its processes."""
        return ProcessLogs(self.data)

    @property
    def runs(self) -> list[ProcessRun]:
        """Every run of each process so far."""
        return [run for each in self.processes.values() for run in each.runs]

    def pids(self) -> list[int]:
        """The pids of the generation processes that run now."""
        found = [each.process for name, each in self.processes.items() if name.startswith("generation")]
        return [process.pid for process in found if process is not None and process.pid]

    def fault_of(self, name: str, start: int) -> Mapping[str, str]:
        """The variables for the next run of a process, by the present faults."""
        return self.faults(name, start)

    @property
    def ends(self) -> int:
        return sum(process.ends for process in self.processes.values())

    async def ready(self) -> None:
        """Wait until every process listens."""
        for each in self.processes.values():
            await listening(each.port)

    async def restart(self, *names: str) -> None:
        """Kill processes (all without names), and wait until they run again, with the present faults."""
        before = {name: self.processes[name].starts for name in names or tuple(self.processes)}
        for name in before:
            self.processes[name].kill()
        await asyncio.gather(
            *(self.processes[name].wait_for_restart(starts, READY_SECONDS) for name, starts in before.items())
        )
        await self.ready()


@asynccontextmanager
async def running(
    data: Path,
    seed: str,
    settings: Mapping[str, str] = MappingProxyType({}),
    kinds: Collection[str] = KINDS,
    *,
    two_generations: bool = False,
    prepare: Callable[[], None] = lambda: None,
) -> AsyncIterator[ChaosStack]:
    """Run a stack without faults, with one generation process or two; at the end its processes are killed.

    `prepare` is called between the migration of the databases and the start of the first process.
    """
    base = free_base()
    async with AsyncExitStack() as exits:
        proxy = await proxied(exits, ToxicProxy(base + OFFSETS["sandbox"], seed, {}))
        environment = {**environment_of(base, data, seed, proxy), **settings}
        await asyncio.to_thread(migrate, data, environment)
        prepare()
        processes = {name: process(name, name, base, environment) for name in kinds}
        if two_generations:
            processes[SECOND_GENERATION] = await second_generation(exits, base, environment)
        stack = ChaosStack(base, data, seed, proxy, processes, environment)
        proxy.client_pids = stack.pids
        tasks = [asyncio.create_task(each.run_forever(stack.fault_of)) for each in processes.values()]
        exits.push_async_callback(kill_all, tasks)
        await stack.ready()
        yield stack


async def proxied(exits: AsyncExitStack, proxy: ToxicProxy) -> ToxicProxy:
    """Open a proxy until the context ends."""
    await proxy.up()
    exits.push_async_callback(proxy.close)
    return proxy


async def second_generation(exits: AsyncExitStack, base: int, environment: Mapping[str, str]) -> StackProcess:
    """A second generation process, with ports of its own; a relay leads it to the same storage."""
    other = free_base()
    relay = ToxicProxy(base + OFFSETS["storage"], "relay", {})
    relay.port = other + OFFSETS["storage"]
    await proxied(exits, relay)
    return process(SECOND_GENERATION, "generation", other, {**environment, "INTERNAL_PORT_BASE": str(other)})


def environment_of(base: int, data: Path, seed: str, proxy: ToxicProxy) -> dict[str, str]:
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
        "FAILPOINT_LOG": str(ProcessLogs(data).hit_log),
        "FAILPOINT_SEED": seed,
        "FAILPOINT_EPOCH": f"{time.time() - time.monotonic():.6f}",
    }


def migrate(data: Path, environment: Mapping[str, str]) -> None:
    """Make the databases, as `kawaii migrate` does."""
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "deploy.cli.main", "migrate"]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)


async def kill_all(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel the tasks that keep processes running; each kills its process."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def random_of(seed: str, purpose: str) -> random.Random:
    """Random numbers for one purpose, the same for the same seed."""
    return random.Random(f"{seed}/{purpose}")
