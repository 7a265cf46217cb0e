"""A store whose functions open a transaction each, for tests of one function at a time."""

from collections.abc import Callable, Coroutine
from typing import Any

from services.chassis.database import Database


class Awaited:
    """Each function of the store as a coroutine function, without its transaction."""

    def __init__(self, database: Database, store: object) -> None:
        self._database, self._store = database, store

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        function = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._database.write(function, *args, **kwargs)

        return call


def awaited(database: Database, store: object) -> Any:
    """The store's functions, each in a transaction of its own."""
    return Awaited(database, store)
