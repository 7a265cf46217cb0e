"""Every upload, import and result is inspected.

Its type comes from its bytes, and what does not decode is refused. GPS data is removed from what clients send.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.chassis.errors import KawaiiError
from services.storage.core import Objects, Uploads
from services.storage.core.inspection import Inspection, sniff
from services.storage.model import Edit, ImportOrder, Lane, PictureFacts, PictureType, StoredObject, UploadSpec
from services.storage.ports import Backend
from tests.storage.media.builders import EXIF_HEAD, gradient, png, saved, tiff, with_chunk, with_segment
from tests.storage.media.corpus import FOREIGN
from tests.storage.samples import FORMATS, InlineDecoder, Remote, ok, picture, stream

HONEST = saved(gradient(30, 20), "png")
PLACED = with_chunk(HONEST, b"eXIf", tiff(orientation=6))
PHOTO = saved(gradient(30, 20), "jpg")
CUT, LARGE, TWOFOLD = HONEST[:-1], png(10_050, 10_050), HONEST + FOREIGN["zip"]
FILM = with_segment(saved(gradient(30, 20), "jpg"), 0xE1, EXIF_HEAD + tiff()) + b"\0\0\0\x18ftypmp42" + bytes(90)


async def uploaded(objects: Objects, content: bytes) -> StoredObject:
    return await objects.upload(UploadSpec(), stream([content]))


async def confirmed(uploads: Uploads, content: bytes, content_type: str = "image/png") -> StoredObject:
    issued = await uploads.create("a.png", content_type, len(content))
    await uploads.receive(issued.token, stream([content]))
    return await uploads.confirm(issued.link.key)


async def imported(objects: Objects, remote: Remote, content: bytes, generation_id: str = "") -> StoredObject:
    return await objects.import_(ImportOrder(remote.put("/p", ok(content)), generation_id))


async def bytes_of(objects: Objects, kept: StoredObject) -> bytes:
    content = b"".join([chunk async for chunk in objects.read(kept.key, 0, 0)])
    assert (len(content), hashlib.sha256(content).hexdigest()) == (kept.size, kept.sha256)
    return content


@pytest.mark.parametrize(
    ("content", "reason"), [(CUT, "INVALID_IMAGE"), (LARGE, "IMAGE_TOO_LARGE"), (TWOFOLD, "INVALID_IMAGE")]
)
async def test_what_does_not_decode_is_refused_at_every_entry(
    objects: Objects, uploads: Uploads, remote: Remote, content: bytes, reason: str
) -> None:
    for way in (uploaded(objects, content), confirmed(uploads, content), imported(objects, remote, content)):
        with pytest.raises(KawaiiError) as refusal:
            await way
        assert refusal.value.reason == reason
    for prefix in ("uploads/", "generated/"):
        assert not [listed async for listed in objects._backend.keys(prefix)]


async def test_every_row_says_how_large_the_picture_is_and_how_it_looks(
    objects: Objects, uploads: Uploads, remote: Remote
) -> None:
    rows: list[Any] = [
        await uploaded(objects, PLACED),
        await confirmed(uploads, PLACED),
        await imported(objects, remote, PLACED, "gen_a"),
    ]

    assert [(row.width, row.height) for row in rows] == [(20, 30)] * 3
    assert len({row.thumb_hash for row in rows}) == 1
    assert rows[0].thumb_hash
    assert [await objects.get(row.key) for row in rows] == rows


async def test_uploads_lose_their_gps_data_and_keep_every_other_byte(objects: Objects, uploads: Uploads) -> None:
    for kept in (await uploaded(objects, PLACED), await confirmed(uploads, PLACED)):
        content = await bytes_of(objects, kept)
        assert len(content) == len(PLACED)
        assert b"kawaii camera" in content
        assert content.endswith(HONEST[33:])
        assert content != PLACED


async def test_a_film_behind_a_photograph_is_removed_with_its_location(objects: Objects) -> None:
    content = await bytes_of(objects, await uploaded(objects, FILM))

    assert content.endswith(b"\xff\xd9")
    assert len(content) == len(FILM) - 102


async def test_a_film_behind_a_photograph_without_a_location_is_removed_too(objects: Objects) -> None:
    assert await bytes_of(objects, await uploaded(objects, PHOTO + bytes(90))) == PHOTO
    assert await bytes_of(objects, await uploaded(objects, PHOTO)) == PHOTO


async def test_a_file_that_is_longer_without_its_location_is_kept_whole(backend: Backend) -> None:
    """A block that is compressed anew may grow."""

    class Growing(InlineDecoder):
        async def inspect(self, path: Path, kind: PictureType, lane: Lane = Lane.CLIENTS) -> PictureFacts:
            return replace(await super().inspect(path, kind, lane), edits=(Edit(1, 2, b"grown"), Edit(9, 9, b"twice")))

    async with backend.spool() as spool:
        await spool.write(HONEST)
        async with Inspection(backend, Growing()).without_gps(spool) as picture:
            content = picture.spool.path.read_bytes()

    assert content == HONEST[:1] + b"grown" + HONEST[2:9] + b"twice" + HONEST[9:]


async def test_results_and_uploads_without_a_location_stay_byte_for_byte(objects: Objects, remote: Remote) -> None:
    assert await bytes_of(objects, await uploaded(objects, HONEST)) == HONEST
    for generation, content in (("", HONEST), ("gen_a", PLACED), ("gen_b", FILM), ("gen_c", TWOFOLD)):
        remote.put("/p", ok(content))
        order = ImportOrder(remote.url("/p"), generation, file_name=generation)
        assert await bytes_of(objects, await objects.import_(order)) == content


async def test_a_result_that_does_not_decode_can_be_fetched_again(objects: Objects, remote: Remote) -> None:
    """As an error page with status 200: the next answer may be the picture."""
    source = remote.put("/p", ok(CUT), ok(b"<html>502</html>"), ok(HONEST))
    order = ImportOrder(source, "gen_a")
    for _ in range(2):
        with pytest.raises(KawaiiError) as refusal:
            await objects.import_(order)
        assert refusal.value.reason == "INVALID_IMAGE"

    assert await bytes_of(objects, await objects.import_(order)) == HONEST


async def test_bytes_that_a_crash_parted_from_their_row_are_inspected_again(objects: Objects, remote: Remote) -> None:
    async with objects._backend.spool() as spool:
        await spool.write(picture())
        await objects._backend.put("generated/gen_a/0.png", spool)
    kept = await objects.import_(ImportOrder(remote.url("/gone"), "gen_a"))

    assert (kept.width, kept.height) == (4, 3)
    assert kept.thumb_hash


@pytest.mark.parametrize("extension", sorted(FORMATS))
def test_each_kind_of_picture_is_known_by_its_first_bytes(extension: str) -> None:
    kind = sniff(picture(extension))

    assert kind is not None
    assert kind.extension == extension


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!doctype html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'>",
        b"%PDF-1.7",
        b"\x7fELF\x02\x01\x01",
        b"PK\x03\x04",
        b"<?php echo 1;",
        b"\x89PNG\r\n",
        b"\xff\xd8",
        b"GIF88a",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"\x00\x00\x00\x1cftypavif",
        b" \x89PNG\r\n\x1a\n",
    ],
)
def test_nothing_else_is_a_picture(head: bytes) -> None:
    assert sniff(head) is None
