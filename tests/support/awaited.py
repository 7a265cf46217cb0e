"""A store whose functions open a transaction each, for tests of one function at a time."""

from collections.abc import Callable, Coroutine
from typing import Any

from services.chassis.database import Database


class Awaited:
    """Each function of the store as a coroutine function, without its transaction."""

    def __init__(self, database: Database, functions: Any) -> None:
        self.database, self.functions = database, functions

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        function = getattr(self.functions, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self.database.write(function, *args, **kwargs)

        return call


def awaited(database: Database, store: object) -> Any:
    """The store's functions, each in a transaction of its own."""
    return Awaited(database, store)
