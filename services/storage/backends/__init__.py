"""Where bytes can lie: one row per STORAGE_MODE, made from the settings."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from services.chassis.supervisor import Loop
from services.storage.backends.local import LocalFiles
from services.storage.backends.pair import IsKept, LabelOf, Pair
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


@dataclass(frozen=True)
class House:
    """Where bytes lie as a whole, its places by their modes, the first one first, and the loops it needs."""

    backend: Backend
    places: Mapping[str, Backend]
    loops: tuple[Loop, ...] = ()


@asynccontextmanager
async def opened(settings: StorageSettings, label_of: LabelOf, is_kept: IsKept) -> AsyncIterator[House]:
    """The place or the pair of places that the settings name."""
    async with BACKENDS[settings.storage_mode](settings) as first:
        if not settings.storage_second_mode:
            yield House(first, {settings.storage_mode: first})
            return
        async with BACKENDS[settings.storage_second_mode](settings) as second:
            pair = Pair(first, second, label_of, is_kept)
            places: dict[str, Backend] = {settings.storage_mode: first, settings.storage_second_mode: second}
            yield House(pair, places, (pair.run,))
