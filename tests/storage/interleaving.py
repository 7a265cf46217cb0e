"""Lets something else happen at each single await of a piece of work, one await a run."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any


class Steps:
    """Counts the awaits of what it wraps, and does something else once, at the one whose number it was given."""

    def __init__(self, at: int, act: Callable[[], Awaitable[object]]) -> None:
        self._left = at
        self._act = act
        self._acting = False

    @property
    def reached(self) -> bool:
        """Whether there was an await of that number."""
        return self._left <= 0

    def around(self, target: Any) -> Any:
        """The same object, counted."""
        return _Counted(target, self)

    async def step(self) -> None:
        """An await: before it, or behind it."""
        if self._acting:
            return
        self._left -= 1
        if self._left == 0:
            self._acting = True
            await self._act()
            self._acting = False


class _Counted:
    def __init__(self, target: Any, steps: Steps) -> None:
        self._target = target
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if inspect.iscoroutinefunction(found):
            return self._call(found)
        return self._stream(found) if inspect.isasyncgenfunction(found) else found

    def _call(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*args: Any, **options: Any) -> Any:
            await self._steps.step()
            answer = await work(*args, **options)
            await self._steps.step()
            return answer

        return called

    def _stream(self, work: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def streamed(*args: Any, **options: Any) -> AsyncIterator[Any]:
            await self._steps.step()
            async for item in work(*args, **options):
                yield item
                await self._steps.step()

        return streamed
