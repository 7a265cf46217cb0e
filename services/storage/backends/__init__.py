"""Where bytes can lie: one row per STORAGE_MODE, made from the settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from services.chassis.supervisor import Loop
from services.storage.backends.local import LocalFiles
from services.storage.backends.pair import LabelOf, Pair
from services.storage.ports import Backend
from services.storage.settings import StorageSettings

Opener = Callable[[StorageSettings], AbstractAsyncContextManager[Backend]]


@asynccontextmanager
async def _local(settings: StorageSettings) -> AsyncIterator[Backend]:
    yield LocalFiles(settings.objects_dir)


def _s3(settings: StorageSettings) -> AbstractAsyncContextManager[Backend]:
    from services.storage.backends.s3 import opened  # noqa: PLC0415 - boto3 costs 30 MB that a local town need not pay

    return opened(settings)


BACKENDS: dict[str, Opener] = {"local": _local, "s3": _s3}


@asynccontextmanager
async def opened(settings: StorageSettings, label_of: LabelOf) -> AsyncIterator[tuple[Backend, list[Loop]]]:
    """The place or the pair of places that the settings name, and the loops it needs."""
    async with BACKENDS[settings.storage_mode](settings) as first:
        if not settings.storage_second_mode:
            yield first, []
            return
        async with BACKENDS[settings.storage_second_mode](settings) as second:
            pair = Pair(first, second, label_of)
            yield pair, [pair.run]
