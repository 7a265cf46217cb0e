"""How pictures are looked at and made smaller: one row per workshop, made from the settings."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from services.storage.ports import Studio
from services.storage.settings import StorageSettings

Opener = Callable[[StorageSettings], AbstractAsyncContextManager[Studio]]


def _pillow(settings: StorageSettings) -> AbstractAsyncContextManager[Studio]:
    from services.storage.pictures.workshop import opened  # noqa: PLC0415 - the workers live below this package

    return opened(settings)


STUDIOS: dict[str, Opener] = {"pillow": _pillow}
