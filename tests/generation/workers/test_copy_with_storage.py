"""The copy as a durable step: the real core, the real storage process, and a picture server that fails."""

import asyncio
import io
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from services.chassis.addresses import ListenPort
from services.chassis.channels import plain_channel
from services.chassis.database import open_database
from services.chassis.migrations import migrate
from services.chassis.notifier import Notifier
from services.chassis.settings import CommonSettings
from services.generation.model import Generation, State
from services.generation.outcomes import Completed
from services.generation.storage_client import StorageClient
from services.generation.timing import Timing
from services.storage.settings import StorageSettings
from tests.generation.harness import Harness, make_harness
from tests.generation.waiting import after
from tests.storage.samples import Remote, answer, ok, open_remote
from tests.storage.test_process import running
from tests.support.polling import eventually
from tests.support.ports import free_base

EXPIRED = {
    "403": answer(403, "Content-Length: 0"),
    "404": answer(404, "Content-Length: 0"),
    "410": answer(410, "Content-Length: 0"),
    "a page with 200": ok(b"<html>This link has expired</html>", "Content-Type: text/html"),
    "nothing with 200": ok(b""),
}
PASSING = {
    "500": answer(500, "Content-Length: 0"),
    "slow down": answer(503, "Content-Length: 0"),
    "cut off": answer(200, "Content-Length: 90000") + b"\x89PNG",
    "no HTTP": b"oops",
}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    async with open_remote() as server:
        yield server


@pytest.fixture
def storage(tmp_path: Path, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.setenv("OUTBOUND_ALLOW_PRIVATE", remote.authority)
    settings = StorageSettings(data_dir=tmp_path / "storage", internal_port_base=free_base(), _env_file=None)
    migrate("storage", settings)
    return settings


@pytest.fixture
async def harness(sqlite: CommonSettings, storage: StorageSettings) -> AsyncIterator[Harness]:
    """The core over the address of a storage service that each test starts."""
    notifier = Notifier()
    async with (
        open_database(sqlite, "generation", notifier) as database,
        plain_channel(storage.address(ListenPort.STORAGE)) as channel,
    ):
        made = await make_harness(database, notifier)
        yield replace(made, storage=StorageClient(channel), timing=replace(made.timing, lost_after=Timing().lost_after))  # type: ignore[arg-type] # the real one


async def drawn(harness: Harness, uri: str) -> Generation:
    """A generation whose picture waits to be copied."""
    created = await harness.order()
    await harness.submit()
    submitted = await harness.store.get(created.id)
    harness.provider.records[submitted.task_id] = Completed((uri,))
    await harness.poll()
    return await harness.store.get(created.id)


async def tried(harness: Harness, generation: Generation) -> Generation:
    """After one more try to copy."""
    await harness.let_time_pass()
    await harness.copy()
    return await harness.store.get(generation.id)


def stored(storage: StorageSettings, generation: Generation) -> bytes:
    """The bytes that the generation's key names."""
    return (storage.objects_dir / generation.outputs[0].key).read_bytes()


@pytest.mark.parametrize("trouble", PASSING)
async def test_a_copy_that_fails_never_fails_the_generation(
    harness: Harness, storage: StorageSettings, remote: Remote, trouble: str
) -> None:
    generation = await drawn(harness, remote.put("/a.png", PASSING[trouble], ok(picture())))
    async with running(storage):
        waiting = await tried(harness, generation)
        done = await tried(harness, generation)

    assert (waiting.state, waiting.failure) == (State.STORING, None)
    assert done.state is State.SUCCEEDED
    assert stored(storage, done) == picture()


@pytest.mark.parametrize("end", EXPIRED)
async def test_an_expired_link_is_replaced_by_a_fresh_one(
    harness: Harness, storage: StorageSettings, remote: Remote, end: str
) -> None:
    generation = await drawn(harness, remote.put("/old.png", EXPIRED[end]))
    harness.provider.links[remote.url("/old.png")] = remote.put("/fresh.png", ok(picture()))
    async with running(storage):
        done = await tried(harness, generation)

    assert done.state is State.SUCCEEDED
    assert done.outputs[0].source_uri == remote.url("/old.png")
    assert stored(storage, done) == picture()
    assert remote.visits == ["/old.png", "/fresh.png"]


async def test_a_picture_that_stays_gone_is_lost_with_its_reason_and_not_before(
    harness: Harness, storage: StorageSettings, remote: Remote
) -> None:
    generation = await drawn(harness, remote.url("/gone.png"))
    async with running(storage):
        early = await tried(harness, generation)
        await after(early.store_ms)
        lost = await tried(replace(harness, timing=replace(harness.timing, lost_after=0.0)), generation)

    assert early.state is State.STORING
    assert (lost.state, lost.outputs[0].lost) == (State.RESULT_LOST, True)
    assert lost.failure
    assert lost.failure.reason == "RESULT_LOST"
    assert lost.outputs[0].error


async def test_a_storage_that_is_down_or_was_killed_after_the_bytes_were_whole_costs_nothing(
    harness: Harness, storage: StorageSettings, remote: Remote
) -> None:
    """The picture is fetched once: what lies there without a row is adopted, though its source is gone by then."""
    generation = await drawn(harness, remote.put("/a.png", ok(picture()), answer(404, "Content-Length: 0")))
    down = await tried(harness, generation)

    async def tried_well() -> bool:  # a channel that met a closed port waits a moment before it looks again
        return (await tried(harness, generation)).state is State.SUCCEEDED

    async def adopted() -> bool:
        again = await harness.storage.copy(generation.id, generation.outputs[0], "")
        return getattr(again, "key", "") == kept.outputs[0].key

    async with running(storage) as process:
        await eventually(tried_well)
        kept = await harness.store.get(generation.id)
        process.kill()
        await process.wait()
    await asyncio.to_thread(forget_rows, storage)
    async with running(storage):
        await eventually(adopted)

    assert down.state is State.STORING
    assert remote.visits == ["/a.png"]


def forget_rows(storage: StorageSettings) -> None:
    """As if the process had died before it wrote the row."""
    for file in storage.data_dir.glob("storage.sqlite3*"):
        file.unlink()
    shutil.rmtree(storage.objects_dir / ".drafts", ignore_errors=True)
    migrate("storage", storage)
