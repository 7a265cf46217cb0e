"""Every backend keeps the contract of ports.Backend."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.chassis.errors import DataLoss, Unavailable
from services.storage.backends import open_backends
from services.storage.backends.disk import open_spool
from services.storage.backends.local import LocalFiles
from services.storage.model import NO_METADATA, ObjectMetadata, Stat
from services.storage.ports import Backend, Spool
from services.storage.settings import BACKENDS, StorageSettings
from tests.storage.buckets import in_bucket, in_mode
from tests.storage.samples import picture

HARD_LABEL = ObjectMetadata("image/png", "upload")


@pytest.fixture(params=[*sorted(BACKENDS), "pair"])
async def backend(request: pytest.FixtureRequest, settings: StorageSettings) -> AsyncIterator[Backend]:
    """Each backend, and a failover pair."""
    if request.param == "pair":
        settings = in_bucket(settings, request.getfixturevalue("s3_server"), storage_second_mode="local")
    else:
        settings = in_mode(request.param, settings, request)
    async with open_backends(settings, no_metadata, kept) as backends:
        yield backends.backend


async def kept(key: str) -> bool:
    return not key


async def no_metadata(key: str) -> ObjectMetadata:
    del key
    return NO_METADATA


async def put(backend: Backend, key: str, *chunks: bytes) -> bool:
    async with backend.spool() as spool:
        for chunk in chunks:
            await spool.write(chunk)
        return await backend.put(key, spool)


async def content(backend: Backend, key: str, offset: int = 0, limit: int = 0) -> bytes:
    return b"".join([chunk async for chunk in backend.read(key, offset, limit)])


async def test_what_was_put_comes_back(backend: Backend) -> None:
    body = picture(size=700_000)

    assert await put(backend, "uploads/a.png", body[:5], body[5:300_000], body[300_000:])
    assert await content(backend, "uploads/a.png") == body


async def test_a_spool_knows_its_size_its_hash_and_its_first_bytes(backend: Backend) -> None:
    body = picture()
    async with backend.spool() as spool:
        for start in range(len(body)):
            await spool.write(body[start : start + 1])
        await backend.put("uploads/a.png", spool)

        assert spool.size == len(body)
        assert spool.head == body[:16]
        assert await backend.stat("uploads/a.png") == Stat(spool.size, spool.sha256)


async def test_a_range_comes_back_in_pieces_of_bounded_size(backend: Backend) -> None:
    body = picture(size=700_000)
    await put(backend, "uploads/a.png", body)

    assert await content(backend, "uploads/a.png", 10, 5) == body[10:15]
    assert await content(backend, "uploads/a.png", 699_990) == body[-10:]
    assert await content(backend, "uploads/a.png", 699_990, 100) == body[-10:]
    assert await content(backend, "uploads/a.png", 700_000) == b""
    assert max([len(chunk) async for chunk in backend.read("uploads/a.png", 0, 0)]) <= 256 * 1024


async def test_the_same_content_may_be_put_again_and_other_content_not(backend: Backend) -> None:
    assert await put(backend, "generated/g/0.png", picture(seed="first"))
    assert await put(backend, "generated/g/0.png", picture(seed="first"))
    assert not await put(backend, "generated/g/0.png", picture(seed="other"))

    assert await content(backend, "generated/g/0.png") == picture(seed="first")


async def test_of_sixteen_that_put_one_key_at_once_one_wins(backend: Backend) -> None:
    seeds = [str(number) for number in range(16)]
    won = await asyncio.gather(*(put(backend, "generated/g/0.png", picture(seed=seed)) for seed in seeds))

    winner = seeds[won.index(True)]
    assert won.count(True) == 1
    assert await content(backend, "generated/g/0.png") == picture(seed=winner)


async def test_a_spool_that_was_not_put_is_seen_by_nobody(backend: Backend) -> None:
    async with backend.spool() as spool:
        await spool.write(picture())

        assert await backend.stat("uploads/a.png") is None
    assert not spool.path.exists()


async def test_a_writer_that_is_cancelled_leaves_nothing(backend: Backend) -> None:
    """The client hung up: the write that runs in its thread must not outlive the spool."""
    drafts: asyncio.Queue[Spool] = asyncio.Queue()

    async def write_for_ever() -> None:
        async with backend.spool() as spool:
            while True:
                await spool.write(picture(size=300_000))
                drafts.put_nowait(spool)

    writer = asyncio.create_task(write_for_ever())
    spool = await drafts.get()
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)

    assert not spool.path.exists()


async def test_what_is_not_there_has_no_stat_and_cannot_be_read(backend: Backend) -> None:
    assert await backend.stat("uploads/none.png") is None
    assert await backend.stat(f"uploads/{'a' * 400}.png") is None
    with pytest.raises(DataLoss):
        await content(backend, "uploads/none.png")


async def test_a_deleted_object_is_gone_and_deleting_again_is_fine(backend: Backend) -> None:
    await put(backend, "uploads/a.png", picture())
    await backend.delete("uploads/a.png")
    await backend.delete("uploads/a.png")
    await backend.delete("nowhere/a.png")

    assert await backend.stat("uploads/a.png") is None


async def everything(key: str) -> bool:
    """Every key is ours."""
    return bool(key)


async def test_reaping_takes_no_object_and_no_spool_in_use(backend: Backend) -> None:
    for key in ("pending/a.png", "uploads/a.png", "backups/somebody.tar"):
        await put(backend, key, picture())
    async with backend.spool() as spool:
        await spool.write(picture(seed="in use"))
        await backend.reap(everything)

        assert await backend.put("uploads/b.png", spool)
    assert [listed.key async for listed in backend.keys("")] == [
        "backups/somebody.tar",
        "pending/a.png",
        "uploads/a.png",
        "uploads/b.png",
    ]


async def test_the_size_is_known_without_reading(backend: Backend) -> None:
    await put(backend, "uploads/a.png", picture(size=300))

    assert await backend.size("uploads/a.png") == 300
    assert await backend.size("uploads/b.png") is None
    assert await backend.size("uploads") is None


async def test_keys_are_listed_in_order_and_the_listing_can_be_taken_up_again(backend: Backend) -> None:
    keys = ["generated/a-b.png", "generated/a.png", "generated/a/0.png", "generated/a/1.png", "uploads/B.png"]
    for key in [*keys[::-1], "uploads/a.png", "uploads.png"]:
        await put(backend, key, picture(size=20 + len(key)))

    listed = [found async for found in backend.keys("generated/")]
    assert [found.key for found in listed] == keys[:4]
    assert [found.size for found in listed] == [20 + len(key) for key in keys[:4]]
    assert [found.key async for found in backend.keys("generated/", "generated/a.png")] == keys[2:4]
    assert [found.key async for found in backend.keys("generated/a/")] == keys[2:4]
    assert [found.key async for found in backend.keys("", "generated/a/0.png")] == [
        *keys[3:4],
        "uploads.png",
        "uploads/B.png",
        "uploads/a.png",
    ]
    assert [found async for found in backend.keys("nowhere/")] == []


async def test_the_spool_of_another_backend_can_be_put(backend: Backend, tmp_path: Path) -> None:
    async with open_spool(tmp_path / "elsewhere") as spool:
        await spool.write(picture())

        assert await backend.put("uploads/a.png", spool)
    assert await content(backend, "uploads/a.png") == picture()


async def test_metadata_in_any_script_and_of_any_length_hinders_nothing(backend: Backend) -> None:
    async with backend.spool() as spool:
        await spool.write(picture())

        assert await backend.put("uploads/a.png", spool, HARD_LABEL)
    assert await backend.stat("uploads/a.png") == Stat(spool.size, spool.sha256)


async def test_a_path_is_a_file_with_the_bytes(backend: Backend) -> None:
    await put(backend, "uploads/a.png", picture())
    path = await backend.path("uploads/a.png")

    assert path is None or path.read_bytes() == picture()
    assert await backend.path("uploads/b.png") is None


async def test_a_backend_answers_pings_while_it_works_and_not_when_it_is_gone(
    backend: Backend, settings: StorageSettings
) -> None:
    await backend.ping()
    await backend.ping()
    if isinstance(backend, LocalFiles):  # the bucket's turn is in test_s3, the pair's in test_pair
        shutil.rmtree(settings.objects_dir)
        settings.objects_dir.write_text("a file where the folder was")
        with pytest.raises(Unavailable):
            await backend.ping()


async def test_an_upload_link_of_the_backend_takes_what_was_declared(backend: Backend) -> None:
    uri = await backend.upload_uri("pending/a.png", "image/png", 2000, 60)
    if not uri:
        return  # our own listener takes uploads; tests/storage/core/test_uploads.py
    async with httpx.AsyncClient(trust_env=False) as anyone:
        answer = await anyone.put(uri, content=picture(), headers={"Content-Type": "image/png"})

    assert answer.status_code == 200
    assert await content(backend, "pending/a.png") == picture()
