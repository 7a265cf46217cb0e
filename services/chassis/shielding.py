"""Shields transactions from cancellation: one that has begun runs to its end although its caller has left.

A task that is cancelled inside aiosqlite 0.22 may never return, and keeps its connection for ever; a few callers
that leave would empty the pool. On any driver, a commit that was cut off leaves it unknown whether it happened.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")

_running: set[asyncio.Task[Any]] = set()


def shielded(store: type[C]) -> type[C]:
    """Make each public coroutine method of a store run to its end once begun; its caller may leave at any time."""
    for name, method in list(vars(store).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(store, name, shielded_method(method))
    return store


async def settled() -> None:
    """Wait until every shielded call that was begun has ended."""
    while _running:
        await asyncio.wait(_running)


def shielded_method(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make one coroutine method run to its end once begun."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        task = asyncio.ensure_future(method(*args, **kwargs))
        _running.add(task)
        task.add_done_callback(_leave)
        return await asyncio.shield(task)

    return call


def _leave(task: "asyncio.Task[Any]") -> None:
    """Forget a task; its exception was raised at its caller, unless that had left."""
    _running.discard(task)
    if not task.cancelled():
        task.exception()
