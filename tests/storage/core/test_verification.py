"""Rows and bytes that do not belong together are named, and nothing else is."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.storage.backends.local import LocalFiles
from services.storage.core import Objects
from services.storage.core.scan import Problem, Progress
from services.storage.core.verification import Verification
from services.storage.model import StoredObject, UploadSpec
from services.storage.settings import StorageSettings
from tests.storage.conftest import clock
from tests.storage.samples import picture, stream
from tests.support.awaited import Awaited

LONG_AGO = 1_700_000_000


@pytest.fixture
def backend_settings(settings: StorageSettings) -> StorageSettings:
    """A folder, whose bytes a test can spoil."""
    return settings


@pytest.fixture
def verification(backend: LocalFiles, store: Awaited) -> Verification:
    return Verification(backend, store.database, store.functions, clock)


async def kept(objects: Objects, seed: str = "") -> StoredObject:
    return await objects.upload(UploadSpec(), stream([picture(seed=seed)]))


async def last(progresses: AsyncIterator[Progress]) -> tuple[Progress, dict[str, Problem | None]]:
    """The last progress of a scan, and all problems that it found."""
    found: dict[str, Problem | None] = {}
    async for progress in progresses:
        found |= {look.key: look.problem for look in progress.findings}
    assert progress.complete
    return progress, found


def lay(backend_settings: StorageSettings, key: str, body: bytes = b"left behind") -> Path:
    """Bytes that have lain under a key for long."""
    path = backend_settings.objects_dir / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


async def test_rows_and_bytes_that_agree_have_no_findings(objects: Objects, verification: Verification) -> None:
    kept_ = [await kept(objects, str(number)) for number in range(20)]
    progress, found = await last(verification.run(read_bytes=True))

    assert not found
    assert (progress.total_count, progress.done_count, progress.problem_count) == (20, 20, 0)
    assert progress.done_bytes == progress.total_bytes == sum(row.size for row in kept_)


async def test_every_kind_of_damage_is_named(
    objects: Objects, backend_settings: StorageSettings, verification: Verification
) -> None:
    gone, short, spoilt, sound = [await kept(objects, seed) for seed in ("gone", "short", "spoilt", "sound")]
    (backend_settings.objects_dir / gone.key).unlink()
    (backend_settings.objects_dir / short.key).write_bytes(b"short")
    (backend_settings.objects_dir / spoilt.key).write_bytes(bytes(spoilt.size))
    lay(backend_settings, "generated/stray.png")
    _, quick = await last(verification.run(read_bytes=False))
    _, deep = await last(verification.run(read_bytes=True))

    damaged = {
        gone.key: Problem.BYTES_MISSING,
        short.key: Problem.SIZE_DIFFERS,
        "generated/stray.png": Problem.ROW_MISSING,
    }
    assert quick == damaged
    assert deep == damaged | {spoilt.key: Problem.HASH_DIFFERS}
    assert sound.key not in deep


async def test_what_is_on_its_way_in_and_what_older_systems_left_is_no_finding(
    backend_settings: StorageSettings, objects: Objects, verification: Verification
) -> None:
    await kept(objects)
    path = lay(backend_settings, "generated/young.png")
    os.utime(path)
    lay(backend_settings, "kie-downloads/old.png")
    lay(backend_settings, "pending/waiting.png")
    _, found = await last(verification.run(read_bytes=False))

    assert not found
