"""All processes of the stack together: started in the plan's order, stopped in the reverse, failing as one."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from deploy.launcher.errors import LaunchError
from deploy.launcher.model import Plan, Process
from deploy.launcher.supervisor import Child

MIGRATION = "migrate"


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
