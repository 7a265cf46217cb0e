"""Supervises the stack's processes: starts them in order, again when they crash or hang, and stops them in reverse.

A Child is one process in a process group of its own; a Stack is all of them, which fail as one. On Linux the kernel
ties the life of each process to that of the launcher, so that nothing survives a kill -9 of the launcher.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from deploy.launcher.console import Log, relay
from deploy.launcher.model import LaunchError, Plan, Process
from deploy.launcher.readiness import REQUEST_SECONDS, lives

FIRST_DELAY_SECONDS = 0.1  # a process that was killed is back before anyone notices
LONGEST_DELAY_SECONDS = 5.0  # one that cannot start does not eat a core, and is back soon after its cause is gone
STEADY_SECONDS = 10.0  # after this long alive, a crash is a new story
MAX_CRASHES_AT_START = 5  # in a row, before the stack was ever ready: it will not get better by itself
CONFIGURATION_EXIT = 78  # EX_CONFIG of sysexits.h
# A process that pauses for a moment, to collect garbage or because the machine swaps, answers one of three looks, each
# of which waits for REQUEST_SECONDS: one that hangs is found within half a minute.
LOOK_SECONDS, MISSES = 5.0, 3
START_SECONDS = 120.0  # a process that has never answered is starting for so long, whatever its database takes
LAST_WORDS_SECONDS = 1.0  # how long output may trail the process that wrote it

PR_SET_PDEATHSIG = 1  # linux/prctl.h

MIGRATION = "migrate"


class Backoff:
    """How long to wait before the next start: doubling, and from the beginning after a steady life."""

    def __init__(self) -> None:
        self.crashes = 0

    def after(self, lifetime: float) -> float:
        """Count one crash; return the seconds to wait."""
        self.crashes = 1 if lifetime >= STEADY_SECONDS else self.crashes + 1
        return min(FIRST_DELAY_SECONDS * 2.0 ** (self.crashes - 1), LONGEST_DELAY_SECONDS)


@dataclass(frozen=True)
class Pauses:
    """Seconds between two looks at a process, for its answer, and for which one that never answered is starting."""

    look: float = LOOK_SECONDS
    answer: float = REQUEST_SECONDS
    start: float = START_SECONDS


class Child:
    """One process of the stack, in a process group of its own."""

    def __init__(
        self, process: Process, environment: Mapping[str, str], *, text: bool, pauses: Pauses = Pauses()
    ) -> None:
        self._process = process
        self._pauses = pauses
        self._environment = environment
        self._text = text
        self._log = Log(text=text)
        self._handle: asyncio.subprocess.Process | None = None
        self._words: asyncio.Task[None] | None = None
        self._backoff = Backoff()

    async def live(self, opened: Callable[[], bool]) -> None:
        """Run for ever, again after each crash.

        Raises:
            LaunchError: when the process cannot start and the stack was never ready (`opened`).
        """
        while True:
            began = time.monotonic()
            code = await self.run()
            delay = self._backoff.after(time.monotonic() - began)
            if not opened():
                self._give_up(code)
            self._log.warning("process_restarts", process=self._process.name, exit_code=code, seconds=delay)
            await asyncio.sleep(delay)

    async def run(self) -> int:
        """Run once to the end and return the exit code (negative: the signal that killed it)."""
        handle = self._handle = await self._spawn()
        self._words = asyncio.create_task(self._relay(handle))
        watching = asyncio.create_task(self._watch(handle))
        try:
            code = await handle.wait()
        finally:
            watching.cancel()
        await self._bury(handle)
        return code

    async def stop(self) -> None:
        """Ask the process to end; after its bound, end it."""
        if (handle := self._handle) is not None:
            await self._end(handle)
            await self._bury(handle)

    def kill(self) -> None:
        """End the process and whatever it left behind in its group, at once."""
        if self._handle is not None:
            with suppress(ProcessLookupError, PermissionError):  # nothing left; macOS says so with the latter
                os.killpg(self._handle.pid, signal.SIGKILL)

    async def _end(self, handle: asyncio.subprocess.Process) -> None:
        """SIGTERM; SIGKILL once the process had its time to put its work in order."""
        with suppress(ProcessLookupError):  # it ended by itself
            handle.terminate()
        try:
            async with asyncio.timeout(self._process.stop_seconds):
                await handle.wait()
        except TimeoutError:
            self._log.warning("process_killed", process=self._process.name, seconds=self._process.stop_seconds)
            self.kill()

    async def _watch(self, handle: asyncio.subprocess.Process) -> None:
        """End the process when it does not answer any more; `live` starts it again."""
        if (probe := self._process.probe) is None:
            return
        began, answered, missed = time.monotonic(), False, 0
        while missed < MISSES:
            await asyncio.sleep(self._pauses.look)
            alive = await lives(probe, self._process.folder, self._pauses.answer)
            answered = answered or alive
            starting = not answered and time.monotonic() - began < self._pauses.start
            missed = 0 if alive or starting else missed + 1
        self._log.warning("process_hangs", process=self._process.name, missed=missed)
        await self._end(handle)

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._process.command,
            env={**self._environment, **self._process.environment},
            cwd=self._process.folder or None,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if self._text else sys.stderr,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=tether(),
        )

    async def _bury(self, handle: asyncio.subprocess.Process) -> None:
        self.kill()
        await handle.wait()
        self._handle = None  # its number may soon be another program's
        if self._words is not None:
            await asyncio.wait({self._words}, timeout=LAST_WORDS_SECONDS)

    async def _relay(self, handle: asyncio.subprocess.Process) -> None:
        if handle.stdout is not None:
            await relay(self._process.name, handle.stdout)

    def _give_up(self, code: int) -> None:
        name = self._process.name
        if code == CONFIGURATION_EXIT:
            raise LaunchError(f"{name} does not accept its configuration; its message is above.")
        if self._backoff.crashes >= MAX_CRASHES_AT_START:
            raise LaunchError(
                f"{name} failed {self._backoff.crashes} times (exit code {code}); its messages are above."
            )


def tether() -> Callable[[], None] | None:
    """What a child must run before it becomes its program; nothing where the kernel offers nothing."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked to be told
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_parent


class Stack:
    """The children of one launcher."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._children = {process.name: self._child(process) for process in plan.processes}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open = False
        self.killed = False

    def start(self, *, migrated: bool) -> None:
        """Start the processes that wait for the migration, or those that do not."""
        for process in self._plan.processes:
            if process.migrated == migrated:
                self.watch(self._children[process.name].live(lambda: self._open))

    async def migrate(self) -> None:
        """Bring the databases up to date, if they are not.

        Raises:
            LaunchError: when that failed.
        """
        if not self._plan.migration:
            return
        self._children[MIGRATION] = self._child(Process(MIGRATION, self._plan.migration))
        if code := await self._children[MIGRATION].run():
            raise LaunchError(f"The databases could not be prepared (exit code {code}); the message is above.")

    def opened(self) -> None:
        """From now on a process that fails is restarted for ever."""
        self._open = True

    def watch(self, work: Coroutine[None, None, None]) -> None:
        """Run something whose failure is the stack's."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._settle)

    async def until(self, stopping: asyncio.Event) -> None:
        """Wait for the signal to stop.

        Raises:
            LaunchError: when the stack failed before.
        """
        waiting = asyncio.create_task(stopping.wait())
        either: set[asyncio.Future[Any]] = {waiting, self._failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._failed.done():
            self._failed.result()

    async def stop(self) -> None:
        """Stop every process, the last started first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for child in self._backwards():
            await child.stop()

    def kill(self) -> None:
        """End everything at once; `stop` then only has to wait."""
        self.killed = True
        for child in self._backwards():
            child.kill()

    def _backwards(self) -> Iterable[Child]:
        return reversed(list(self._children.values()))

    def _child(self, process: Process) -> Child:
        return Child(process, self._plan.environment, text=self._plan.text)

    def _settle(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)
