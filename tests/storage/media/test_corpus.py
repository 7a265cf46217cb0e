"""What strangers send: five hundred crafted and five thousand mutated files, and a service that outlives them all.

`PICTURE_MUTATIONS=20000 PICTURE_SEED=… pytest tests/storage/media` makes more of them, or the same again.
"""

import os
import random
import secrets
import warnings
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from services.storage.media.decoder_pool import ProcessDecoderPool
from services.storage.model import WEBP, VariantSpec
from tests.storage.media.conftest import KINDS, WriteFile, inspected, peak_bytes
from tests.storage.media.corpus import EITHER, Case, crafted, polyglots, seeds
from tests.storage.media.mutations import mutated

CRAFTED = list(crafted())
MUTATIONS = int(os.environ.get("PICTURE_MUTATIONS", "1500"))
MEMORY_BYTES = 1024 * 1024 * 1024  # PICTURE_MEMORY_BYTES; what kernel and codecs took, not what was reserved
TINY = VariantSpec(16, 0, 70, WEBP)


def decodes(content: bytes) -> bool:
    """Whether a decoder that knows nothing of us shows every pixel of the first frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(content)) as picture:
            picture.load()
    return True


async def judged(decoder_pool: ProcessDecoderPool, path: Path, case: Case) -> str:
    """The fate of a case; what is accepted decodes, has the size it should have, and can be made smaller."""
    fate, facts = await inspected(decoder_pool, path, case.extension)
    if facts:
        assert decodes(case.content), case.name
        assert case.size in {(0, 0), (facts.width, facts.height)}, case.name
        assert decodes((await decoder_pool.derive(path, KINDS[case.extension], TINY)).content), case.name
    return fate


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CRAFTED) >= 500


async def test_every_crafted_file_meets_its_fate_and_no_worker_outgrows_its_bounds(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile
) -> None:
    surprises = []
    for case in CRAFTED:
        fate = await judged(decoder_pool, write_file(case.content), case)
        assert peak_bytes(decoder_pool) <= MEMORY_BYTES, case.name
        if case.fate not in {EITHER, fate}:
            surprises.append((case.extension, case.name, case.fate, fate))

    assert not surprises


async def test_every_mutated_file_is_refused_or_decodes(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = os.environ.get("PICTURE_SEED") or secrets.token_hex(4)
    dice, fates, originals = random.Random(seed), Counter[str](), seeds()
    for number in range(MUTATIONS):
        extension, whole = dice.choice(originals)
        content = mutated(whole, dice.choice(originals)[1], dice) or b"\0"
        case = Case(f"mutation {number} of seed {seed}", extension, content, EITHER)
        fates[await judged(decoder_pool, write_file(content), case)] += 1
        assert peak_bytes(decoder_pool) <= MEMORY_BYTES, case.name
    with capsys.disabled():
        print(  # noqa: T201 - a seed that nobody sees cannot be had again
            f"\n{MUTATIONS} mutated pictures, PICTURE_SEED={seed}: {dict(fates)}"
        )

    assert fates["ok"]
    assert set(fates) <= {"ok", "INVALID_IMAGE", "IMAGE_TOO_LARGE"}


async def test_what_hangs_behind_a_picture_is_seen(decoder_pool: ProcessDecoderPool, write_file: WriteFile) -> None:
    for case in polyglots():
        _, facts = await inspected(decoder_pool, write_file(case.content), case.extension)

        assert facts
        assert facts.rest > 0, case
