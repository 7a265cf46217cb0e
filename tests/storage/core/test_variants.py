"""Smaller pictures are made once, kept, and bounded in number; artworks get theirs unasked."""

import asyncio
from io import BytesIO

import pytest
from PIL import Image

from services.chassis.errors import KawaiiError
from services.storage.core import Objects, Variants
from services.storage.core.variants import QUALITIES, WIDTHS, VariantPresets
from services.storage.model import Filter, StoredObject, UploadSpec, VariantWish
from services.storage.ports import Backend
from tests.storage.conftest import clock
from tests.storage.media.builders import gradient, saved
from tests.storage.samples import InlineDecoder, picture, stream
from tests.support.awaited import Awaited
from tests.support.polling import eventually

WIDE = saved(gradient(300, 200), "png")


async def kept(objects: Objects, content: bytes = WIDE, prefix: str = "uploads") -> StoredObject:
    return await objects.upload(UploadSpec(prefix=prefix), stream([content]))


async def content(objects: Objects, key: str) -> bytes:
    return b"".join([chunk async for chunk in objects.read(key, 0, 0)])


async def test_a_variant_is_stored_beside_its_original(objects: Objects, variants: Variants) -> None:
    original = await kept(objects)
    made = await variants.make(original.key, VariantWish(width=100, quality=70, extension="jpeg"))
    shown = Image.open(BytesIO(await content(objects, made.key)))

    assert made.key == f"variants/{original.key}/128x0q70.jpg"
    assert (made.content_type, made.source, made.width, made.height) == ("image/jpeg", "variant", 128, 85)
    assert (shown.format, shown.size) == ("JPEG", (128, 85))
    assert await objects.get(made.key) == made


async def test_no_variant_is_made_wider_than_its_original(objects: Objects, variants: Variants) -> None:
    original = await kept(objects)
    made = [await variants.make(original.key, VariantWish(width=width)) for width in (0, 300, 4000)]

    assert len({each.key for each in made}) == 1
    assert made[0].width <= 300


async def test_sixteen_who_want_the_same_at_once_cost_one_decoding_and_get_one_object(
    objects: Objects, variants: Variants, decoder: InlineDecoder
) -> None:
    original = await kept(objects)
    decoder.open.clear()
    wanting = [asyncio.create_task(variants.make(original.key, VariantWish(width=64))) for _ in range(16)]
    await eventually(lambda: bool(decoder.derived))
    decoder.open.set()
    made = set(await asyncio.gather(*wanting))

    assert len(made) == len(decoder.derived) == 1
    assert {await variants.make(original.key, VariantWish(width=64))} == made
    assert len(decoder.derived) == 1


async def test_two_processes_that_make_the_same_agree(objects: Objects, variants: Variants, backend: Backend) -> None:
    """One of them had put its bytes, made by other codecs, and died before it wrote the row."""
    original = await kept(objects)
    theirs = picture("webp", "another version of the codec")
    async with backend.spool() as spool:
        await spool.write(theirs)
        await backend.put(f"variants/{original.key}/64x0q70.webp", spool)
    made = await variants.make(original.key, VariantWish(width=64))

    assert await content(objects, made.key) == theirs
    assert made.size == len(theirs)


async def test_strangers_can_ask_for_presets_only(objects: Objects, variants: Variants) -> None:
    original = await kept(objects, saved(gradient(2048, 2), "png"))
    keys = {
        (await variants.make(original.key, VariantWish(width=width, height=9, quality=quality))).key
        for width in (0, 1, 63, 64, 65, 4000)
        for quality in (0, 1, 69, 71, 400)
    }
    sizes = {key.rpartition("/")[2].removesuffix(".webp") for key in keys}

    assert sizes <= {f"{width}x0q{quality}" for width in WIDTHS for quality in QUALITIES}
    assert {"64x0q70", "128x0q50", "2048x0q70", "2048x0q90"} <= sizes


async def test_one_picture_becomes_few_variants_within_a_budget_of_bytes(
    objects: Objects, backend: Backend, store: Awaited, decoder: InlineDecoder, presets: VariantPresets
) -> None:
    """Whatever strangers ask for: the oldest go, what was just made stays, and each is made anew when wanted."""
    budget = 40_000
    variants = Variants(
        backend, store.database, store.functions, decoder, presets, max_bytes=300_000, budget_bytes=budget, clock=clock
    )
    original, other = [await kept(objects, saved(gradient(700, 500), "png")) for _ in range(2)]
    beside = await variants.make(other.key, VariantWish(width=64))
    wishes = [
        VariantWish(width, quality=quality, extension=extension)
        for width in range(1, 2100, 150)
        for quality in (1, 40, 60, 80, 100)
        for extension in ("webp", "jpeg", "png")
    ]
    made = {(await variants.make(original.key, wish)).key for wish in wishes}
    stays = await store.by_key(f"variants/{original.key}/", "", 999)
    listed = [found.key async for found in backend.keys(f"variants/{original.key}/")]

    assert len(made) <= 35  # five widths up to its own, three qualities of two formats, and one PNG each
    assert len({key for key in made if key.endswith(".png")}) <= 5
    assert sum(row.size for row in stays) <= budget
    assert sorted(listed) == [row.key for row in stays]
    assert len(stays) < len(made)
    assert (await variants.make(original.key, wishes[0])).key in made
    assert await objects.get(beside.key)


async def test_a_signed_wish_is_met_exactly_and_a_forged_one_refused(
    objects: Objects, variants: Variants, presets: VariantPresets
) -> None:
    original = await kept(objects)
    wish = VariantWish(width=77, height=33, quality=42, extension="png")
    signed = presets.signature(original.key, wish)
    made = await variants.make(original.key, VariantWish(77, 33, 42, "png", signed))
    assert (made.width, made.height) == (50, 33)

    for forged in (VariantWish(78, 33, 42, "png", signed), VariantWish(77, 33, 42, "png", "é" + signed)):
        with pytest.raises(KawaiiError) as refusal:
            await variants.make(original.key, forged)
        assert refusal.value.reason == "FORBIDDEN"


async def test_a_signed_wish_has_its_limits_too(objects: Objects, variants: Variants, presets: VariantPresets) -> None:
    original = await kept(objects)
    for width, height in ((0, 0), (4097, 0), (1, 4097)):
        wish = VariantWish(width, height, 70, "webp")
        with pytest.raises(KawaiiError) as refusal:
            await variants.make(
                original.key, VariantWish(width, height, 70, "webp", presets.signature(original.key, wish))
            )
        assert refusal.value.reason == "INVALID_INPUT"


@pytest.mark.parametrize(("width", "height"), [(1, 0), (4096, 0), (1, 4096)])
def test_a_signed_wish_may_be_as_small_and_as_large_as_its_limits(
    presets: VariantPresets, width: int, height: int
) -> None:

    spec = presets.of("uploads/a.png", presets.signed("uploads/a.png", VariantWish(width, height)))

    assert (spec.width, spec.height) == (width, height)


async def test_what_cannot_be_made_is_said(objects: Objects, variants: Variants, store: Awaited) -> None:
    original = await kept(objects)
    await store.add(StoredObject("uploads/old.svg", "image/svg+xml", 3, "0" * 64, "upload"))

    for key, wish, reason in (
        ("uploads/none.png", VariantWish(), "NOT_FOUND"),
        (original.key, VariantWish(extension="avif"), "INVALID_INPUT"),
        ("uploads/old.svg", VariantWish(), "INVALID_IMAGE"),
    ):
        with pytest.raises(KawaiiError) as refusal:
            await variants.make(key, wish)
        assert refusal.value.reason == reason


async def test_a_variant_of_a_variant_is_itself(objects: Objects, variants: Variants) -> None:
    made = await variants.make((await kept(objects)).key, VariantWish(width=64))

    assert await variants.make(made.key, VariantWish(width=1000)) == made


async def test_variants_go_with_their_original(objects: Objects, variants: Variants, backend: Backend) -> None:
    original, other = await kept(objects), await kept(objects)
    made = await variants.make(original.key, VariantWish(width=64))
    beside = await variants.make(other.key, VariantWish(width=64))
    await objects.delete(original.key)

    assert await backend.size(made.key) is None
    page = await objects.list(Filter(), 0, "")
    assert {found.key for found in page.objects} == {other.key, beside.key}
