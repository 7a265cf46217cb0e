"""Runs the stack behind `make up`: plan, claim, start, wait until it serves, and stop it gracefully on a signal."""

import asyncio
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deploy.launcher.console import say
from deploy.launcher.model import LaunchError, Plan
from deploy.launcher.preflight import allow_files, claimed, prepare, require_free
from deploy.launcher.readiness import Public, ready
from deploy.launcher.supervisor import Stack, tether

PLAN = (sys.executable, "-m", "deploy.launcher.plan")
PRIVATE_UMASK = 0o077  # as services.chassis.settings has it, whose libraries the launcher does not load
KILLED_EXIT = 130  # what shells report for Ctrl-C


def run() -> int:
    """Run the stack of this environment until a signal; return the exit code.

    Whatever it and its children write, Envoy and Valkey among them, is for their own user only.
    """
    os.umask(PRIVATE_UMASK)
    allow_files()
    return asyncio.run(up(time.monotonic()))


async def up(began: float) -> int:
    """Plan, then live; all refusals are reported in one message."""
    stopping = asyncio.Event()
    on_signals(stopping.set)
    code, plan = await draw_up()
    if plan is None:
        return code
    try:
        return await live(plan, stopping, began)
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        return 1


async def draw_up() -> tuple[int, Plan | None]:
    """Have the plan made by a process that may be large, because it ends."""
    planner = await asyncio.create_subprocess_exec(
        *PLAN, stdout=asyncio.subprocess.PIPE, start_new_session=True, preexec_fn=tether()
    )
    text, _ = await planner.communicate()
    if planner.returncode:
        return planner.returncode, None
    return 0, pickle.loads(text)  # noqa: S301 - our own process wrote it


async def live(plan: Plan, stopping: asyncio.Event, began: float) -> int:
    """Run the stack until `stopping` is set.

    Raises:
        LaunchError: when it cannot start.
    """
    with claimed(Path(plan.data_dir)):
        require_free(plan.ports)
        prepare(plan)
        stack = Stack(plan)
        on_signals(lambda: stack.kill() if stopping.is_set() else stopping.set())
        stack.watch(welcome(stack, plan, began))
        try:
            await stack.until(stopping)
        finally:
            await close(stack, stopping)
    return KILLED_EXIT if stack.killed else 0


async def welcome(stack: Stack, plan: Plan, began: float) -> None:
    """Start everything in order and tell when it serves."""
    say(f"Starting {', '.join(process.name for process in plan.processes)}.")
    stack.start(migrated=False)
    if plan.migration:
        say("Preparing the databases.")
    await stack.migrate()
    stack.start(migrated=True)
    public = Public(plan.probe_host, plan.probe_port, plan.probe_tls)
    await ready(public, lambda answer: say(f"Still waiting for the stack: {answer}"))
    stack.opened()
    say(greeting(plan, time.monotonic() - began))


async def close(stack: Stack, stopping: asyncio.Event) -> None:
    """Stop everything; a signal from now on kills."""
    stopping.set()
    say("Stopping. Ctrl-C again kills at once.")
    await stack.stop()
    say("Stopped.")


def greeting(plan: Plan, seconds: float) -> str:
    """What a person wants to know once everything runs."""
    lines = {
        "site": plan.origin,
        "data": plan.data_dir,
        "upstream": plan.upstream,
        **plan.facts,
        "stop": f"Ctrl-C, or kill {os.getpid()}",
    }
    return "\n".join([f"\nkawaii is ready after {seconds:.1f} s", *(f"  {k:<9} {v}" for k, v in lines.items()), ""])


def on_signals(handle: Callable[[], None]) -> None:
    """Call this for every request to stop; a hang-up is one unless it is ignored (nohup)."""
    loop = asyncio.get_running_loop()
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    for number in (signal.SIGINT, signal.SIGTERM, *hangup):
        loop.add_signal_handler(number, handle)
