"""The storage backends by STORAGE_MODE, opened from the settings."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pkgutil import resolve_name

from services.chassis.supervisor import Loop
from services.storage.backends.failover import FailoverBackend, IsKept, MetadataOf
from services.storage.ports import Backend
from services.storage.settings import BACKENDS, StorageSettings

Opener = Callable[[StorageSettings], AbstractAsyncContextManager[Backend]]


def open_backend(mode: str, settings: StorageSettings) -> AbstractAsyncContextManager[Backend]:
    """Open one backend."""
    opener: Opener = resolve_name(BACKENDS[mode])
    return opener(settings)


@dataclass(frozen=True)
class OpenedBackends:
    """The backend in use, the backends it consists of by mode (the first one first), and its background loops."""

    backend: Backend
    by_mode: Mapping[str, Backend]
    loops: tuple[Loop, ...] = ()


@asynccontextmanager
async def open_backends(
    settings: StorageSettings, metadata_of: MetadataOf, is_kept: IsKept
) -> AsyncIterator[OpenedBackends]:
    """Open the backend that the settings name: one, or a failover backend over two."""
    async with open_backend(settings.storage_mode, settings) as first:
        if not settings.storage_second_mode:
            yield OpenedBackends(first, {settings.storage_mode: first})
            return
        async with open_backend(settings.storage_second_mode, settings) as second:
            failover = FailoverBackend(first, second, metadata_of, is_kept)
            by_mode: dict[str, Backend] = {settings.storage_mode: first, settings.storage_second_mode: second}
            yield OpenedBackends(failover, by_mode, (failover.run,))
