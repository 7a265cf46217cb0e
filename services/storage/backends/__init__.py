"""The storage backends by STORAGE_MODE, opened from the settings."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from services.chassis.supervisor import Loop
from services.storage.backends.failover import FailoverBackend, IsKept, MetadataOf
from services.storage.backends.local import LocalFiles
from services.storage.ports import Backend
from services.storage.settings import StorageSettings

Opener = Callable[[StorageSettings], AbstractAsyncContextManager[Backend]]


@asynccontextmanager
async def _local(settings: StorageSettings) -> AsyncIterator[Backend]:
    yield LocalFiles(settings.objects_dir)


def _s3(settings: StorageSettings) -> AbstractAsyncContextManager[Backend]:
    from services.storage.backends.s3 import open_bucket  # noqa: PLC0415 - boto3 costs 30 MB, which local mode does not need

    return open_bucket(settings)


BACKENDS: dict[str, Opener] = {"local": _local, "s3": _s3}


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
    async with BACKENDS[settings.storage_mode](settings) as first:
        if not settings.storage_second_mode:
            yield OpenedBackends(first, {settings.storage_mode: first})
            return
        async with BACKENDS[settings.storage_second_mode](settings) as second:
            failover = FailoverBackend(first, second, metadata_of, is_kept)
            by_mode: dict[str, Backend] = {settings.storage_mode: first, settings.storage_second_mode: second}
            yield OpenedBackends(failover, by_mode, (failover.run,))
