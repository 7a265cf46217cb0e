"""A workshop with real workers, and files for it to look at."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.chassis.errors import KawaiiError
from services.storage.model import PICTURE_TYPES, PictureFacts, PictureType
from services.storage.pictures.workshop import Worker, Workshop, opened
from services.storage.settings import StorageSettings

KINDS: dict[str, PictureType] = {kind.extension: kind for kind in PICTURE_TYPES}
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
Shelf = Callable[[bytes], Path]


@pytest.fixture
def settings() -> StorageSettings:
    return StorageSettings(_env_file=None)


@pytest.fixture
async def workshop(settings: StorageSettings, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with opened(settings.model_copy(update={"storage_dir": tmp_path})) as workshop:
        yield workshop


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Puts bytes into a file."""

    def put(content: bytes) -> Path:
        path = tmp_path / "picture"
        path.write_bytes(content)
        return path

    return put


async def looked(workshop: Workshop, path: Path, extension: str) -> tuple[str, PictureFacts | None]:
    """What becomes of a file: ok and its facts, or the reason why not."""
    try:
        return "ok", await workshop.inspect(path, KINDS[extension])
    except KawaiiError as refusal:
        return refusal.reason, None


def workers(workshop: Workshop) -> list[Worker]:
    """Those that rest."""
    return [worker for worker, _ in workshop._idle]


def peak_bytes(workshop: Workshop) -> int:
    """The most memory that a resting worker ever held."""
    statuses = [Path(f"/proc/{worker.process.pid}/status").read_text() for worker in workers(workshop)]
    return max((1024 * int(found[1]) for status in statuses if (found := PEAK.search(status))), default=0)
