"""Lets a transaction run to its end although whoever asked for it has gone: cancellation must not reach a driver.

A task that is cancelled inside aiosqlite 0.22 may never return, and keeps its connection for ever; a few impatient
callers would so empty the pool. On any driver, a commit that was cut off leaves nobody knowing whether it happened.
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


def unbroken(store: type[C]) -> type[C]:
    """Make each public coroutine method of a store run to its end once begun; its caller may leave at any time."""
    for name, method in list(vars(store).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(store, name, kept_running(method))
    return store


async def settled() -> None:
    """Wait until everything that was begun has ended."""
    while _running:
        await asyncio.wait(_running)


def kept_running(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make one coroutine method run to its end once begun."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        task = asyncio.ensure_future(method(*args, **kwargs))
        _running.add(task)
        task.add_done_callback(_leave)
        return await asyncio.shield(task)

    return call


def _leave(task: "asyncio.Task[Any]") -> None:
    """Forget a task; what it raised has been told to its caller, if there still was one."""
    _running.discard(task)
    if not task.cancelled():
        task.exception()
