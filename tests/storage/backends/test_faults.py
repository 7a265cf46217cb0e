"""Writers that die and disks that fail, as real processes: no torn object, no false word, and the next one works."""

import asyncio
import random
import re
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from services.storage.backends import open_backend
from services.storage.ports import Backend
from services.storage.settings import StorageSettings
from tests.storage.buckets import environment_of
from tests.storage.samples import picture

ROOT = Path(__file__).parents[3]
KEY = "generated/gen_a/0.png"
WRITERS, SIZE = 16, 400_000
MAX_LIFE_SECONDS = 0.4  # some die while they write, some before, some live
TRACED = "write,fsync,linkat,mkdirat"
SYNCED = re.compile(r"f(?:data)?sync\(\d+<([^>]+)>\)\s+= 0")
FAILURES = 13  # how far into its work each kind of call fails, counted in each thread; later ones are not reached


@asynccontextmanager
async def writer(backend_settings: StorageSettings, seed: int) -> AsyncIterator[Process]:
    """A process that waits for its word; it has ended when the context has."""
    program = (
        sys.executable,
        "-m",
        "tests.storage.backends.writer",
        backend_settings.storage_mode,
        KEY,
        str(seed),
        str(SIZE),
    )
    environment = environment_of(backend_settings) | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}"}
    process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, cwd=ROOT, env=environment)
    assert process.stdout
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def failing(process: Process, error: str, nth: int) -> AsyncIterator[None]:
    """Make the nth call of a running process fail."""
    command = (
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-p",
        str(process.pid),
        "-e",
        f"inject={TRACED}:error={error}:when={nth}",
    )
    tracer = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
    assert tracer.stderr
    try:
        if b"attached" not in await tracer.stderr.readline():
            process.kill()
            pytest.skip("this machine does not let strace attach to a process")
        yield
    finally:
        await tracer.communicate()  # it ends with the process


@asynccontextmanager
async def watched(process: Process, log: Path) -> AsyncIterator[None]:
    """Write down, in their order, the calls of a running process that make something durable or visible."""
    calls = "trace=fsync,fdatasync,linkat,unlinkat"
    command = ("strace", "-f", "-y", "-s", "4096", "-o", str(log), "-p", str(process.pid), "-e", calls)
    tracer = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
    assert tracer.stderr
    try:
        if b"attached" not in await tracer.stderr.readline():
            process.kill()
            pytest.skip("this machine does not let strace attach to a process")
        yield
    finally:
        await tracer.communicate()  # it ends with the process


async def commanded(process: Process, word: bytes = b"put\n") -> str:
    """What came of a put or a deletion; empty when the process died of it."""
    return (await process.communicate(word))[0].decode().strip()


async def struck(process: Process, dice: random.Random) -> str:
    """The same, but the process may be killed at any moment."""
    work = asyncio.create_task(commanded(process))
    if dice.random() < 0.8:
        await asyncio.sleep(dice.uniform(0, MAX_LIFE_SECONDS))
        if process.returncode is None:
            process.kill()
    return await work


async def content(backend: Backend) -> bytes:
    return b"".join([chunk async for chunk in backend.read(KEY, 0, 0)])


async def test_of_sixteen_writers_killed_at_random_one_whole_object_remains(
    backend_settings: StorageSettings, backend: Backend
) -> None:
    dice = random.Random(4)
    async with asyncio.timeout(100):
        async with AsyncExitStack() as stack:
            processes = [await stack.enter_async_context(writer(backend_settings, seed)) for seed in range(WRITERS)]
            outcomes = await asyncio.gather(*(struck(process, dice) for process in processes))
        async with writer(backend_settings, WRITERS) as process:  # finds the key free, if all of them died too early
            outcomes.append(await commanded(process))
    found = await content(backend)
    winners = [seed for seed in range(WRITERS + 1) if found == picture(seed=str(seed), size=SIZE)]

    assert len(winners) == 1
    assert [seed for seed, outcome in enumerate(outcomes) if outcome == "stored"] in ([], winners)
    assert [listed.key async for listed in backend.keys("")] == [KEY]
    assert "" in outcomes


@pytest.mark.parametrize(("error", "reason"), [("EIO", "STORAGE_DOWN"), ("ENOSPC", "STORAGE_FULL")])
async def test_a_disk_that_fails_at_the_nth_call_tears_nothing_and_heals_without_a_restart(
    settings: StorageSettings, error: str, reason: str
) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is missing, which makes system calls fail")
    told_of = set()
    async with open_backend("local", settings) as backend:
        for nth in range(1, FAILURES):
            async with writer(settings, nth) as process, failing(process, error, nth):
                outcome = await commanded(process)
            told_of |= {" ".join(dict.fromkeys(outcome.split()))}

            assert await content(backend) == picture(seed=str(nth), size=SIZE)
            await backend.delete(KEY)
    assert told_of <= {"stored", "", f"{reason} stored"}  # the call that failed may have been the one that tells
    assert f"{reason} stored" in told_of


async def test_bytes_are_durable_before_their_name_is_and_the_name_before_the_put_returns(
    settings: StorageSettings, tmp_path: Path
) -> None:
    """The file is synced, then linked, then all folders on the way: a power cut at any call loses and tears nothing."""
    if not shutil.which("strace"):
        pytest.skip("strace is missing, which shows the order of system calls")
    log, root = tmp_path / "calls", settings.objects_dir.absolute()
    async with writer(settings, 1) as process, watched(process, log):
        assert await commanded(process) == "stored"
    lines = log.read_text().splitlines()
    [linked] = [number for number, line in enumerate(lines) if " linkat(" in line]
    source = lines[linked].split('"')[1]
    before = {found[1] for line in lines[:linked] if (found := SYNCED.search(line))}
    after = {found[1] for line in lines[linked:] if (found := SYNCED.search(line))}

    assert lines[linked].endswith("= 0")
    assert source in before
    assert after >= {str(root), str(root / "generated"), str(root / "generated/gen_a")}


async def test_a_name_that_was_taken_is_durable_too_before_the_put_returns(
    settings: StorageSettings, tmp_path: Path
) -> None:
    """Whoever made it may have died before the folders were synced."""
    if not shutil.which("strace"):
        pytest.skip("strace is missing, which shows the order of system calls")
    log, root = tmp_path / "calls", settings.objects_dir.absolute()
    async with writer(settings, 1) as process:
        assert await commanded(process) == "stored"
    async with writer(settings, 1) as process, watched(process, log):
        assert await commanded(process) == "stored"
    synced = {found[1] for line in log.read_text().splitlines() if (found := SYNCED.search(line))}

    assert synced >= {str(root), str(root / "generated"), str(root / "generated/gen_a")}


async def test_a_deletion_is_durable_before_it_returns(settings: StorageSettings, tmp_path: Path) -> None:
    """A power cut must not bring back an object whose deletion has returned."""
    if not shutil.which("strace"):
        pytest.skip("strace is missing, which shows the order of system calls")
    log, folder = tmp_path / "calls", settings.objects_dir.absolute() / "generated/gen_a"
    async with writer(settings, 1) as process:
        assert await commanded(process) == "stored"
    async with writer(settings, 1) as process, watched(process, log):
        assert await commanded(process, b"delete\n") == "deleted"
    lines = log.read_text().splitlines()
    [removed] = [number for number, line in enumerate(lines) if " unlinkat(" in line and '"0.png"' in line]
    after = {found[1] for line in lines[removed:] if (found := SYNCED.search(line))}

    assert lines[removed].endswith("= 0")
    assert after == {str(folder)}
