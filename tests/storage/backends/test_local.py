"""What only a folder can suffer: planted links, a full disk, crashes between its steps."""

import os
import time
from pathlib import Path

import psutil
import pytest

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.storage.backends.local import LocalFiles
from services.storage.ports import SPOOL_SECONDS
from tests.storage.samples import picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def local(root: Path) -> LocalFiles:
    return LocalFiles(root)


async def put(local: LocalFiles, key: str, *chunks: bytes) -> bool:
    async with local.spool() as spool:
        for chunk in chunks:
            await spool.write(chunk)
        return await local.put(key, spool)


async def test_a_file_may_be_sent_from_its_path(local: LocalFiles) -> None:
    await put(local, "uploads/a.png", picture())
    path = await local.path("uploads/a.png")

    assert path is not None
    assert path.read_bytes() == picture()


async def test_a_folder_issues_no_upload_link_of_its_own(local: LocalFiles) -> None:
    assert await local.upload_uri("pending/a.png", "image/png", 5, 60) == ""


async def test_a_planted_symbolic_link_is_no_file(local: LocalFiles, root: Path, tmp_path: Path) -> None:
    await put(local, "uploads/a.png", picture())
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(picture())
    (root / "uploads" / "link.png").symlink_to(outside / "secret.png")
    (root / "linked").symlink_to(outside)

    for key in ("uploads/link.png", "linked/secret.png"):
        assert await local.path(key) is None
        assert await local.stat(key) is None
    with pytest.raises(Unavailable):
        await put(local, "linked/new.png", picture())
    assert [path.name for path in outside.iterdir()] == ["secret.png"]
    assert not await put(local, "uploads/link.png", picture())


async def test_a_pipe_or_a_folder_is_no_file_and_hangs_nobody(local: LocalFiles, root: Path) -> None:
    await put(local, "uploads/a.png", picture())
    os.mkfifo(root / "uploads" / "pipe.png")

    assert await local.path("uploads/pipe.png") is None
    assert await local.path("uploads") is None
    assert await local.path("uploads/a.png/b.png") is None


async def test_what_is_no_file_is_closed_again(local: LocalFiles, root: Path) -> None:
    """Each that stayed open would be missing to later requests: a process may open only so many."""
    await put(local, "uploads/a.png", picture())
    os.mkfifo(root / "uploads" / "pipe.png")
    await local.stat("uploads/pipe.png")
    before = psutil.Process().num_fds()
    for _ in range(20):
        assert await local.stat("uploads/pipe.png") is None

    assert psutil.Process().num_fds() == before


async def nobodys(key: str) -> bool:
    """No key is ours."""
    return not key


async def test_a_spool_file_of_a_dead_process_is_reaped_when_it_is_old(local: LocalFiles, root: Path) -> None:
    await put(local, "uploads/a.png", picture())
    dead, young = root / ".drafts" / "dead", root / ".drafts" / "young"
    dead.write_bytes(b"half")
    young.write_bytes(b"half")
    old = time.time() - SPOOL_SECONDS - 1
    os.utime(dead, (old, old))
    await local.reap(nobodys)

    assert not dead.exists()
    assert young.exists()


async def fill(local: LocalFiles) -> None:
    for number in range(20):
        await put(local, f"uploads/{number}.png", *[picture(size=100_000)] * 3)


async def test_a_full_disk_is_an_error_leaves_nothing_and_works_again_with_room(small_disk: Path) -> None:
    local = LocalFiles(small_disk)
    assert await put(local, "uploads/kept.png", picture())
    with pytest.raises(ResourceExhausted) as failure:
        await fill(local)

    assert failure.value.reason == "STORAGE_FULL"
    assert list((small_disk / ".drafts").iterdir()) == []
    assert await local.stat("uploads/kept.png")
    for path in (small_disk / "uploads").glob("[0-9]*"):
        assert path.stat().st_size == 300_000
        path.unlink()
    assert await put(local, "uploads/again.png", picture())


async def test_a_disk_that_does_not_work_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file where the folder should be")

    with pytest.raises(KawaiiError) as failure:
        await put(LocalFiles(tmp_path / "objects"), "uploads/a.png", picture())
    assert failure.value.reason == "STORAGE_DOWN"


async def test_a_disk_that_fails_while_reading_is_an_error() -> None:
    """The first page of a process's memory is a regular file that answers EIO."""
    memory = Path("/proc/self")
    if not (memory / "mem").is_file():
        pytest.skip("this machine has no /proc/self/mem, whose reading fails")

    with pytest.raises(Unavailable) as failure:
        await anext(LocalFiles(memory).read("mem", 0, 10))
    assert failure.value.reason == "STORAGE_DOWN"
