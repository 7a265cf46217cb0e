"""A decoder pool with real workers, and files for it."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.chassis.errors import KawaiiError
from services.storage.media.decoder_pool import ProcessDecoderPool, Worker, open_decoder_pool
from services.storage.model import PICTURE_TYPES, PictureFacts, PictureType
from services.storage.settings import StorageSettings

KINDS: dict[str, PictureType] = {kind.extension: kind for kind in PICTURE_TYPES}
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
WriteFile = Callable[[bytes], Path]


@pytest.fixture
def settings() -> StorageSettings:
    return StorageSettings(_env_file=None)


@pytest.fixture
async def decoder_pool(settings: StorageSettings, tmp_path: Path) -> AsyncIterator[ProcessDecoderPool]:
    async with open_decoder_pool(settings.model_copy(update={"storage_dir": tmp_path})) as decoder_pool:
        yield decoder_pool


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """Puts bytes into a file."""

    def put(content: bytes) -> Path:
        path = tmp_path / "picture"
        path.write_bytes(content)
        return path

    return put


async def inspected(decoder_pool: ProcessDecoderPool, path: Path, extension: str) -> tuple[str, PictureFacts | None]:
    """What becomes of a file: ok and its facts, or the reason why not."""
    try:
        return "ok", await decoder_pool.inspect(path, KINDS[extension])
    except KawaiiError as refusal:
        return refusal.reason, None


def workers(decoder_pool: ProcessDecoderPool) -> list[Worker]:
    """Those that rest."""
    return [worker for worker, _ in decoder_pool._idle]


def peak_bytes(decoder_pool: ProcessDecoderPool) -> int:
    """The most memory that a resting worker ever held."""
    statuses = [Path(f"/proc/{worker.process.pid}/status").read_text() for worker in workers(decoder_pool)]
    return max((1024 * int(found[1]) for status in statuses if (found := PEAK.search(status))), default=0)
