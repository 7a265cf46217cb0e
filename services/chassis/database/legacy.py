"""Transactions whose statements are awaited one by one, for stores that are not synchronous functions yet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import Any, cast

from sqlalchemy import CursorResult
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database.failures import translated
from services.chassis.database.sqlite import Queue
from services.chassis.database.transaction import Transaction

Call = tuple[Callable[[Transaction], Any], "asyncio.Future[Any]"]


class _LeftError(Exception):
    """The block raised: its transaction is rolled back."""


class _Session:
    """Hands statements to the thread that holds the transaction."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.calls: SimpleQueue[Call | bool | None] = SimpleQueue()
        self.begun: asyncio.Future[Transaction] = self._loop.create_future()

    def hold(self, transaction: Transaction) -> None:
        """Run on the thread: serve statements until the block ends."""
        self._loop.call_soon_threadsafe(self._set, self.begun, transaction, None)
        while (call := self.calls.get()) is not None:
            if isinstance(call, bool):
                raise _LeftError
            work, answer = call
            try:
                result, error = work(transaction), None
            except BaseException as caught:  # noqa: BLE001 - it is raised at the caller
                result, error = None, caught
            self._loop.call_soon_threadsafe(self._set, answer, result, error)

    def _set(self, answer: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    async def _call(self, work: Callable[[Transaction], Any]) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self.calls.put((work, answer))
        return await answer

    @property
    def dialect(self) -> Any:
        return self.begun.result()._connection.dialect  # noqa: SLF001 - goes with this module

    async def execute(self, statement: Any, rows: Any = None) -> Any:
        return await self._call(lambda transaction: _whole(transaction.execute(statement, rows)))

    async def scalar(self, statement: Any, rows: Any = None) -> Any:
        return await self._call(lambda transaction: transaction.execute(statement, rows).scalar())

    async def scalars(self, statement: Any, rows: Any = None) -> Any:
        return (await self.execute(statement, rows)).scalars()


def _whole(result: CursorResult[Any]) -> Any:
    """The result with its rows in memory: the cursor belongs to the thread."""
    return result.freeze()() if result.returns_rows else result


@asynccontextmanager
async def session(queue: Queue) -> AsyncIterator[AsyncConnection]:
    """A transaction on a thread, which it holds for as long as the block takes."""
    held = _Session()
    holding = asyncio.create_task(queue.run(held.hold, alone=True))
    try:
        await asyncio.wait([holding, held.begun], return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        held.calls.put(False)  # noqa: FBT003 - goes with this module
        raise
    if not held.begun.done():
        await holding
    try:
        with translated():
            yield cast("AsyncConnection", held)
    except BaseException:
        held.calls.put(False)  # noqa: FBT003 - goes with this module
        await asyncio.wait([holding])
        holding.exception()
        raise
    held.calls.put(None)
    await holding
