"""Pictures of another system in our folder get rows and keep their bytes; all else is left alone."""

import hashlib
import os
from pathlib import Path

import pytest

from services.chassis.errors import InvalidArgument
from services.storage.backends.local import LocalFiles
from services.storage.core import Objects
from services.storage.core.adoption import Adoption
from services.storage.core.inspection import Inspection
from services.storage.core.scan import Problem
from services.storage.settings import StorageSettings
from tests.storage.conftest import clock
from tests.storage.core.test_verification import kept, last, lay
from tests.storage.samples import InlineDecoder, picture
from tests.support.awaited import Awaited

MOST = 100_000  # bytes of a picture
OLD = {"uploads/old.png": "upload", "kie-downloads/old.webp": "import", "generated/task_1.jpg": "import"}


@pytest.fixture
def backend_settings(settings: StorageSettings) -> StorageSettings:
    """A folder, into which a test can lay what it likes."""
    return settings


@pytest.fixture
def adoption(backend: LocalFiles, store: Awaited, decoder: InlineDecoder) -> Adoption:
    return Adoption(backend, store.database, store.functions, Inspection(backend, decoder), max_bytes=MOST, clock=clock)


def laid(backend_settings: StorageSettings) -> dict[str, bytes]:
    """A picture of each kind that older sites kept."""
    bodies = {key: picture(key.rpartition(".")[2], key) for key in OLD}
    for key, body in bodies.items():
        lay(backend_settings, key, body)
    return bodies


async def test_old_pictures_get_rows_that_describe_them_and_a_second_run_finds_nothing(
    adoption: Adoption, backend_settings: StorageSettings, objects: Objects
) -> None:
    bodies, ours = laid(backend_settings), await kept(objects)
    progress, found = await last(adoption.run("", adopt=True))
    again, _ = await last(adoption.run("", adopt=True))

    rows = {key: await objects.get(key) for key in OLD}
    assert (progress.changed_count, again.changed_count, found) == (len(OLD), 0, {})
    assert progress.changed_bytes == sum(map(len, bodies.values()))
    assert {key: (row.size, row.sha256, row.source) for key, row in rows.items()} == {
        key: (len(body), hashlib.sha256(body).hexdigest(), OLD[key]) for key, body in bodies.items()
    }
    assert {row.content_type for row in rows.values()} == {"image/png", "image/webp", "image/jpeg"}
    assert all((row.width, row.height) == (4, 3) and row.thumb_hash for row in rows.values())
    assert {key: (backend_settings.objects_dir / key).read_bytes() for key in OLD} == bodies
    assert await objects.get(ours.key) == ours


async def test_a_dry_run_counts_and_writes_nothing(
    adoption: Adoption, backend_settings: StorageSettings, store: Awaited
) -> None:
    laid(backend_settings)
    progress, found = await last(adoption.run("", adopt=False))

    assert (progress.changed_count, found) == (len(OLD), {})
    assert await store.totals() == (0, 0)


async def test_only_what_lies_below_a_prefix_is_adopted(
    adoption: Adoption, backend_settings: StorageSettings, store: Awaited
) -> None:
    laid(backend_settings)
    await last(adoption.run("kie-downloads/", adopt=True))

    assert [row.key for row in await store.by_key("", "", 9)] == ["kie-downloads/old.webp"]
    with pytest.raises(InvalidArgument) as refusal:
        await last(adoption.run("backups/", adopt=True))
    assert refusal.value.metadata["field"] == "prefix"


async def test_what_is_no_picture_or_too_large_is_named_and_left(
    adoption: Adoption, backend_settings: StorageSettings, store: Awaited
) -> None:
    bodies = {
        "uploads/a.png": b"<html></html>",
        "uploads/empty.png": b"",
        "uploads/large.png": picture(size=MOST + 1),
        "uploads/no key.png": picture(),
    }
    for key, body in bodies.items():
        lay(backend_settings, key, body)
    whole = lay(backend_settings, "uploads/most.png", picture(size=MOST))
    lay(backend_settings, "backups/b.png", picture())
    _, found = await last(adoption.run("", adopt=True))

    assert found == dict.fromkeys(bodies, Problem.NOT_A_PICTURE)
    assert [row.key for row in await store.by_key("", "", 9)] == ["uploads/most.png"]
    assert whole.exists()
    assert all((backend_settings.objects_dir / key).read_bytes() == body for key, body in bodies.items())


async def test_what_may_still_be_on_its_way_is_not_touched(
    adoption: Adoption, backend_settings: StorageSettings, store: Awaited
) -> None:
    """Its own upload writes the row within the hour."""
    for key in laid(backend_settings):
        os.utime(backend_settings.objects_dir / key)
    progress, _ = await last(adoption.run("", adopt=True))

    assert progress.changed_count == 0
    assert await store.totals() == (0, 0)


@pytest.mark.parametrize("gone", [True, False])
async def test_a_picture_that_changes_while_it_is_adopted_gets_no_row(
    backend: LocalFiles, store: Awaited, backend_settings: StorageSettings, *, gone: bool
) -> None:
    path = lay(backend_settings, "uploads/old.png", picture())

    class Slow(InlineDecoder):
        """Its owner is faster than our look."""

        async def inspect(self, *given: object) -> object:
            found = await super().inspect(*given)  # type: ignore[arg-type] # as it came
            _change(path, gone=gone)
            return found

    inspection = Inspection(backend, Slow())  # type: ignore[arg-type] # its answer is the parent's
    adoption = Adoption(backend, store.database, store.functions, inspection, max_bytes=MOST, clock=clock)
    progress, found = await last(adoption.run("", adopt=True))

    assert (progress.changed_count, found) == (0, {})
    assert await store.totals() == (0, 0)


def _change(path: Path, *, gone: bool) -> None:
    if gone:
        path.unlink()
    else:
        path.write_bytes(picture(seed="another"))
