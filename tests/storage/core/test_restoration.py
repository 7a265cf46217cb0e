"""Objects of another installation are restored under their keys, whole and once."""

from dataclasses import replace
from hashlib import sha256

import pytest

from services.chassis.errors import AlreadyExists, InvalidArgument
from services.storage.core import Objects
from services.storage.core.inspection import Inspection
from services.storage.core.restoration import Restoration
from services.storage.model import StoredObject
from services.storage.ports import Backend
from tests.storage.samples import picture, stream
from tests.support.awaited import Awaited

UUID = "0b5a2a34-3a5c-4b6e-9f0a-6a1f2d3c4b5a"
NOW_MS = 1_800_000_000_000
BODY = picture(seed="elsewhere")
RECORD = StoredObject(
    key="generated/gen_a/0.png",
    content_type="image/png",
    size=len(BODY),
    sha256=sha256(BODY).hexdigest(),
    source="kie-download",
    generation_id="gen_a",
    index=0,
    source_uri="https://elsewhere.example/0.png",
)


@pytest.fixture
def restoration(backend: Backend, store: Awaited, inspection: Inspection) -> Restoration:
    return Restoration(backend, store.database, store.functions, inspection, 100_000, clock=lambda: NOW_MS)


async def test_an_object_comes_in_as_it_was_and_repeating_it_changes_nothing(
    restoration: Restoration, objects: Objects
) -> None:
    first = await restoration.restore(RECORD, stream([BODY]))
    second = await restoration.restore(RECORD, stream([BODY[:9], BODY[9:]]))
    seen = replace(RECORD, create_ms=first.create_ms, width=4, height=3, thumb_hash=first.thumb_hash)

    assert first == second == await objects.get(RECORD.key) == seen
    assert b"".join([chunk async for chunk in objects.read(RECORD.key, 0, 0)]) == BODY


@pytest.mark.parametrize(
    "key", ["variants/uploads/a.png/64x0q70.webp", "pending/a.png", "guests/uploads/a.png", "x.png"]
)
async def test_only_originals_come_in(restoration: Restoration, key: str) -> None:
    with pytest.raises(InvalidArgument, match="originals"):
        await restoration.restore(replace(RECORD, key=key), stream([BODY]))


async def test_bytes_that_are_not_those_of_the_record_are_refused(restoration: Restoration, backend: Backend) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await restoration.restore(RECORD, stream([picture(seed="another")]))

    assert refusal.value.reason == "HASH_DIFFERS"
    assert await backend.size(RECORD.key) is None


async def test_another_object_under_the_key_or_of_the_generation_stays(
    restoration: Restoration, backend: Backend
) -> None:
    await restoration.restore(RECORD, stream([BODY]))
    other = picture(seed="another")
    twin = replace(RECORD, size=len(other), sha256=sha256(other).hexdigest())

    for record in (twin, replace(twin, key="generated/gen_a/0.jpg")):
        with pytest.raises(AlreadyExists):
            await restoration.restore(record, stream([other]))
    assert b"".join([chunk async for chunk in backend.read(RECORD.key, 0, 0)]) == BODY


async def test_an_object_keeps_the_time_that_it_had(restoration: Restoration, store: Awaited) -> None:
    old = replace(RECORD, key=f"artworks/original/{UUID}.png", source="upload", create_ms=1_700_000_000_123)
    kept = await restoration.restore(old, stream([BODY]))

    assert kept.create_ms == old.create_ms
    assert [queued.id for queued in await store.claim_thumbs(9, 1)] == [old.key]  # no look finds one this old
    assert (await restoration.restore(old, stream([BODY]))) == kept


async def test_an_object_from_the_future_is_refused(restoration: Restoration, backend: Backend) -> None:
    with pytest.raises(InvalidArgument, match="create_time must not be in the future") as refusal:
        await restoration.restore(replace(RECORD, create_ms=NOW_MS + 60_000), stream([BODY]))

    assert refusal.value.metadata == {"field": "create_time"}
    assert await backend.size(RECORD.key) is None
