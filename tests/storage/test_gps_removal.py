"""No upload, import or variant holds GPS data, whichever program wrote the picture; checked by exiftool."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from services.storage.core import Objects, Uploads, Variants
from services.storage.model import ImportOrder, StoredObject, UploadSpec, VariantWish
from tests.storage.gps_samples import EXIFTOOL, corpus, locations_in
from tests.storage.samples import Remote, ok, stream

pytestmark = pytest.mark.skipif(not EXIFTOOL, reason="exiftool is not installed (Debian: libimage-exiftool-perl)")
TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
Sample = tuple[str, str, bytes]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return list(corpus(tmp_path_factory.mktemp("corpus")))


@pytest.fixture(params=["local"])
def backend_settings(settings: object) -> object:
    """One backend is enough: the bytes are the same in all."""
    return settings


async def content_of(objects: Objects, kept: StoredObject) -> bytes:
    return b"".join([chunk async for chunk in objects.read(kept.key, 0, 0)])


async def uploaded(objects: Objects, _: Uploads, __: Remote, sample: Sample) -> StoredObject:
    return await objects.upload(UploadSpec(), stream([sample[2]]))


async def linked(_: Objects, uploads: Uploads, __: Remote, sample: Sample) -> StoredObject:
    issued = await uploads.create("a", TYPES[sample[1]], len(sample[2]))
    await uploads.receive(issued.token, stream([sample[2]]))
    return await uploads.confirm(issued.link.key)


async def imported(objects: Objects, _: Uploads, remote: Remote, sample: Sample) -> StoredObject:
    return await objects.import_(ImportOrder(remote.put(f"/{sample[0]}.{sample[1]}", ok(sample[2]))))


@pytest.mark.parametrize("way_in", [uploaded, linked, imported])
async def test_files_of_clients_lose_their_location(
    objects: Objects, uploads: Uploads, remote: Remote, samples: list[Sample], tmp_path: Path, way_in: object
) -> None:
    assert callable(way_in)
    kept = {}
    for sample in samples:
        name, extension, content = sample
        kept[f"{name}.{extension}"] = await content_of(objects, await way_in(objects, uploads, remote, sample))
        pixels = Image.open(BytesIO(kept[f"{name}.{extension}"])).tobytes()
        assert pixels == Image.open(BytesIO(content)).tobytes()

    assert locations_in(tmp_path, kept) == {}


def test_every_sample_holds_a_location(samples: list[Sample], tmp_path: Path) -> None:
    pictures = {f"{name}.{extension}": content for name, extension, content in samples}

    assert locations_in(tmp_path, pictures).keys() == pictures.keys()


async def test_variants_of_a_result_with_a_location_have_none(
    objects: Objects, variants: Variants, remote: Remote, samples: list[Sample], tmp_path: Path
) -> None:
    """The result itself stays byte for byte as it was made."""
    made = {}
    for number, (name, extension, content) in enumerate(samples):
        source = remote.put(f"/{name}.{extension}", ok(content))
        result = await objects.import_(ImportOrder(source, f"gen_{number}"))
        assert await content_of(objects, result) == content
        for target in ("webp", "jpeg", "png"):
            variant = await variants.make(result.key, VariantWish(64, extension=target))
            made[f"{name}-{extension}.{target}"] = await content_of(objects, variant)

    assert locations_in(tmp_path, made) == {}


async def test_texts_without_a_location_stay(objects: Objects, samples: list[Sample]) -> None:
    content = next(content for name, extension, content in samples if (name, extension) == ("iim", "jpg"))
    kept = await content_of(objects, await objects.upload(UploadSpec(), stream([content])))

    assert b"a word that stays" in kept
    assert b"a person who stays" in kept
    assert len(kept) == len(content)
