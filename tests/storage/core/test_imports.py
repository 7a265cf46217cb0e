"""Copies from elsewhere: each picture once, whatever crashes, races or lies."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from services.chassis.errors import InvalidArgument, KawaiiError, NotFound, Unavailable
from services.storage.core import Objects
from services.storage.core.imports import Imports
from services.storage.core.inspection import Inspection
from services.storage.core.keys import ObjectKeys
from services.storage.fetcher import HttpFetcher
from services.storage.model import Filter, ImportOrder, StoredObject
from services.storage.ports import Backend
from tests.storage.conftest import clock
from tests.storage.samples import Remote, answer, ok, picture
from tests.support.awaited import Awaited
from tests.support.polling import eventually


async def content(objects: Objects, found: StoredObject) -> bytes:
    return b"".join([chunk async for chunk in objects.read(found.key, 0, 0)])


async def put(backend: Backend, key: str, body: bytes) -> None:
    async with backend.spool() as spool:
        await spool.write(body)
        await backend.put(key, spool)


async def test_a_generation_s_picture_is_copied_to_its_key(objects: Objects, remote: Remote) -> None:
    source = remote.put("/r.jpg", ok(picture("webp"), "Content-Type: image/png"))
    found = await objects.import_(ImportOrder(source, "gen_a", 1))

    assert found.key == "generated/gen_a/1.webp"
    assert (found.content_type, found.source, found.source_uri) == ("image/webp", "kie-download", source)
    assert (found.generation_id, found.index) == ("gen_a", 1)
    assert await content(objects, found) == picture("webp")


async def test_a_picture_with_a_name_of_its_own_shows_no_id_and_is_found_again_after_a_crash(
    objects: Objects, backend: Backend, remote: Remote
) -> None:
    """Whoever repeats the copy names the same file: there is no second one, and no row is needed to find the first."""
    await put(backend, "generated/5eed0abc.png", picture())
    found = await objects.import_(ImportOrder(remote.url("/gone.png"), "gen_a", 1, file_stem="5eed0abc"))
    again = await objects.import_(ImportOrder(remote.url("/gone.png"), "gen_a", 1, file_stem="5eed0abc"))
    fresh = await objects.import_(ImportOrder(remote.put("/r.png", ok(picture())), "gen_a", 2, file_stem="beef"))

    assert found == again
    assert (found.key, found.generation_id, found.index) == ("generated/5eed0abc.png", "gen_a", 1)
    assert fresh.key == "generated/beef.png"
    assert remote.visits == ["/r.png"]


async def test_the_same_picture_is_fetched_once(objects: Objects, remote: Remote) -> None:
    source = remote.put("/r.png", ok(picture()))
    first = await objects.import_(ImportOrder(source, "gen_a"))
    second = await objects.import_(ImportOrder(remote.url("/other.png"), "gen_a"))

    assert first == second
    assert remote.visits == ["/r.png"]


async def test_many_who_want_it_at_once_share_one_fetch(objects: Objects, remote: Remote) -> None:
    source = remote.put("/r.png", ok(picture()))
    remote.held.clear()
    orders = [objects.import_(ImportOrder(source, "gen_a")) for _ in range(8)]
    orders += [objects.import_(ImportOrder(source, file_name="x.png")) for _ in range(8)]
    running = asyncio.gather(*orders)
    await eventually(lambda: len(remote.visits) == 2)
    remote.held.set()

    assert len({found.key for found in await running}) == 2
    assert len(remote.visits) == 2


async def test_bytes_that_a_crash_left_without_a_row_are_adopted_though_their_source_is_gone(
    objects: Objects, backend: Backend, remote: Remote
) -> None:
    await put(backend, "generated/gen_a/0.jpg", picture("jpg"))
    found = await objects.import_(ImportOrder(remote.url("/gone.jpg"), "gen_a"))

    assert (found.key, found.content_type, found.size) == ("generated/gen_a/0.jpg", "image/jpeg", 2000)
    assert remote.visits == []


async def test_a_named_copy_that_lost_its_row_is_registered_again_under_its_key(
    objects: Objects, backend: Backend, remote: Remote
) -> None:
    await put(backend, "generated/cat.png", picture())
    found = await objects.import_(ImportOrder(remote.put("/r.png", ok(picture())), file_name="cat.png"))

    assert found.key == "generated/cat.png"


async def test_a_name_taken_by_other_content_gets_a_suffix_and_overwrites_nothing(
    objects: Objects, remote: Remote
) -> None:
    first = await objects.import_(ImportOrder(remote.put("/1", ok(picture(seed="1"))), file_name="cat.jpg"))
    second = await objects.import_(ImportOrder(remote.put("/2", ok(picture(seed="2"))), file_name="cat.jpg"))
    again = await objects.import_(ImportOrder(remote.url("/2"), file_name="cat.jpg"))

    assert first.key == "generated/cat.png"
    assert second.key.startswith("generated/cat-")
    assert again == second
    assert remote.visits == ["/1", "/2"]
    assert await content(objects, first) == picture(seed="1")


async def test_a_copy_without_any_name_gets_a_key_of_its_own(objects: Objects, remote: Remote) -> None:
    found = await objects.import_(ImportOrder(remote.put("/r", ok(picture("gif")))))

    assert found.key.startswith("generated/generated_")
    assert found.key.endswith(".gif")
    assert found.source == "import"


async def test_a_task_s_url_is_imported_once_whatever_it_is_called(
    objects: Objects, remote: Remote, store: Awaited
) -> None:
    source = remote.put("/r.png", ok(picture()))
    first = await objects.import_(ImportOrder(source, file_name="a.png", task_id="kie-77"))
    again = await objects.import_(ImportOrder(source, file_name="b.png", task_id="kie-77"))
    other = await objects.import_(ImportOrder(source, task_id="kie-78"))

    assert first == again
    assert (first.key, first.generation_id, first.index) == ("generated/a.png", "kie-77", None)
    assert other.key.startswith("generated/generated_")
    assert "kie-78" not in other.key
    assert await store.list(Filter(generation_id="kie-77"), None, 10) == (first,)
    assert remote.visits == ["/r.png", "/r.png"]


async def test_a_url_of_ours_is_answered_without_a_fetch(objects: Objects, remote: Remote, store: Awaited) -> None:
    first = await objects.import_(ImportOrder(remote.put("/r.png", ok(picture())), "gen_a"))
    ours = "https://site.example/files/generated/gen_a/0.png"

    for spelling in (ours, f"{ours}?v=2", ours.replace("https://site.example", "HTTP://SITE.example:80")):
        assert await objects.import_(ImportOrder(spelling, "gen_b")) == first
    assert len(await store.list(Filter(), None, 10)) == 1
    with pytest.raises(NotFound):
        await objects.import_(ImportOrder("https://site.example/files/generated/gen_z/0.png"))


async def test_the_fresher_link_is_tried_first(objects: Objects, remote: Remote) -> None:
    remote.put("/fresh", ok(picture()))
    order = ImportOrder(remote.url("/stale"), "gen_a", download_uri=remote.url("/fresh"))

    assert (await objects.import_(order)).source_uri == remote.url("/stale")
    assert remote.visits == ["/fresh"]


@pytest.mark.parametrize(
    "trouble",
    [
        answer(403, "Content-Length: 0"),
        answer(500, "Content-Length: 0"),
        ok(b"<html>This link has expired</html>"),
        answer(200, "Content-Length: 9000") + picture(),
    ],
)
async def test_the_source_is_tried_when_the_fresher_link_fails(
    objects: Objects, remote: Remote, trouble: bytes
) -> None:
    remote.put("/fresh", trouble)
    source = remote.put("/source", ok(picture()))

    assert await objects.import_(ImportOrder(source, "gen_a", download_uri=remote.url("/fresh")))
    assert remote.visits == ["/fresh", "/source"]


async def test_a_fresher_link_does_not_share_the_end_of_a_stale_one(objects: Objects, remote: Remote) -> None:
    """Joined to the fetch of a link that is gone, it would tell that the picture is lost, untried."""
    remote.put("/fresh", ok(picture()))
    stale = ImportOrder(remote.url("/gone"), "gen_a")
    remote.held.clear()
    first = asyncio.create_task(objects.import_(stale))
    await eventually(lambda: remote.visits == ["/gone"])
    second = asyncio.create_task(objects.import_(replace(stale, download_uri=remote.url("/fresh"))))
    await eventually(lambda: len(remote.visits) == 2)
    remote.held.set()

    with pytest.raises(NotFound):
        await first
    assert (await second).key == "generated/gen_a/0.png"


async def test_a_picture_is_not_lost_while_one_of_its_links_may_come_back(objects: Objects, remote: Remote) -> None:
    remote.put("/fresh", answer(503, "Content-Length: 0"))
    with pytest.raises(Unavailable):
        await objects.import_(ImportOrder(remote.url("/gone"), "gen_a", download_uri=remote.url("/fresh")))
    with pytest.raises(NotFound):
        await objects.import_(ImportOrder(remote.url("/gone"), "gen_a"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>sorry</html>", "INVALID_IMAGE"),
        (b"", "EMPTY_FILE"),
        (picture(size=300_001), "FILE_TOO_LARGE"),
    ],
)
async def test_what_is_no_picture_is_refused_and_leaves_nothing(
    objects: Objects, remote: Remote, tmp_path: Path, body: bytes, reason: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await objects.import_(ImportOrder(remote.put("/r", ok(body)), "gen_a"))

    assert refusal.value.reason == reason
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


async def test_a_picture_that_breaks_off_is_never_kept(objects: Objects, remote: Remote, tmp_path: Path) -> None:
    broken = answer(200, "Content-Length: 200000") + picture(size=150_000)
    source = remote.put("/r", broken, ok(picture(size=200_000)))
    with pytest.raises(KawaiiError) as failure:
        await objects.import_(ImportOrder(source, "gen_a"))

    assert failure.value.reason == "SOURCE_UNAVAILABLE"
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []
    assert (await objects.import_(ImportOrder(source, "gen_a"))).size == 200_000


async def test_the_first_copy_stays_when_another_process_was_faster(
    objects: Objects, backend: Backend, remote: Remote
) -> None:
    """Between our look and our put another process put its copy, and has not written its row yet."""
    source = remote.put("/r", ok(picture(seed="ours")))
    remote.held.clear()
    running = asyncio.create_task(objects.import_(ImportOrder(source, "gen_a")))
    await eventually(lambda: bool(remote.visits))
    await put(backend, "generated/gen_a/0.png", picture(seed="theirs"))
    remote.held.set()

    assert await content(objects, await running) == picture(seed="theirs")


async def test_a_key_that_is_taken_and_gone_again_at_this_moment_is_told_to_try_again(
    objects: Objects,
    backend: Backend,
    store: Awaited,
    fetcher: HttpFetcher,
    inspection: Inspection,
    remote: Remote,
) -> None:
    """Another process put its copy just before ours, and a deletion took it just after."""
    source = remote.put("/r", ok(picture()), ok(picture()))

    class Taken:
        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        async def put(self, *_: object) -> bool:
            return False

    taken = cast("Backend", Taken())  # all but one method
    unlucky = Imports(
        taken, store.database, store.functions, fetcher, inspection, make_keys=ObjectKeys(clock), max_bytes=300_000
    )
    with pytest.raises(Unavailable) as refusal:
        await unlucky.run(ImportOrder(source, "gen_a"))

    assert refusal.value.retry_after
    assert (await objects.import_(ImportOrder(source, "gen_a"))).key == "generated/gen_a/0.png"
