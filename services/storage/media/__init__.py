"""Decoding pictures and making smaller ones, in worker processes: the decoder pools by name."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from services.storage.ports import DecoderPool
from services.storage.settings import StorageSettings

Opener = Callable[[StorageSettings], AbstractAsyncContextManager[DecoderPool]]


def _pillow(settings: StorageSettings) -> AbstractAsyncContextManager[DecoderPool]:
    from services.storage.media.decoder_pool import open_decoder_pool  # noqa: PLC0415 - the workers import this package too

    return open_decoder_pool(settings)


DECODER_POOLS: dict[str, Opener] = {"pillow": _pillow}
