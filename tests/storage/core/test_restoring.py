"""Objects of another town come in under their keys, whole and once."""

from dataclasses import replace
from hashlib import sha256

import pytest

from services.chassis.errors import AlreadyExists, InvalidArgument
from services.storage.core import Objects
from services.storage.core.intake import Intake
from services.storage.core.restoring import Restorer
from services.storage.model import StoredObject
from services.storage.ports import Backend
from services.storage.stores.sql import SqlObjects
from tests.storage.samples import picture, stream

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
def restorer(backend: Backend, store: SqlObjects, intake: Intake) -> Restorer:
    return Restorer(backend, store, intake, 100_000)


async def test_an_object_comes_in_as_it_was_and_repeating_it_changes_nothing(
    restorer: Restorer, objects: Objects
) -> None:
    first = await restorer.restore(RECORD, stream([BODY]))
    second = await restorer.restore(RECORD, stream([BODY[:9], BODY[9:]]))
    seen = replace(RECORD, create_ms=first.create_ms, width=4, height=3, thumb_hash=first.thumb_hash)

    assert first == second == await objects.get(RECORD.key) == seen
    assert b"".join([chunk async for chunk in objects.read(RECORD.key, 0, 0)]) == BODY


@pytest.mark.parametrize(
    "key", ["variants/uploads/a.png/64x0q70.webp", "pending/a.png", "guests/uploads/a.png", "x.png"]
)
async def test_only_originals_come_in(restorer: Restorer, key: str) -> None:
    with pytest.raises(InvalidArgument, match="originals"):
        await restorer.restore(replace(RECORD, key=key), stream([BODY]))


async def test_bytes_that_are_not_those_of_the_record_are_refused(restorer: Restorer, backend: Backend) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await restorer.restore(RECORD, stream([picture(seed="another")]))

    assert refusal.value.reason == "HASH_DIFFERS"
    assert await backend.size(RECORD.key) is None


async def test_another_object_under_the_key_or_of_the_generation_stays(restorer: Restorer, backend: Backend) -> None:
    await restorer.restore(RECORD, stream([BODY]))
    other = picture(seed="another")
    twin = replace(RECORD, size=len(other), sha256=sha256(other).hexdigest())

    for record in (twin, replace(twin, key="generated/gen_a/0.jpg")):
        with pytest.raises(AlreadyExists):
            await restorer.restore(record, stream([other]))
    assert b"".join([chunk async for chunk in backend.read(RECORD.key, 0, 0)]) == BODY
