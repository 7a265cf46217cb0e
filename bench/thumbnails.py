"""How many thumbnails a second the workers make, against the bare library in this process and in as many processes.

The library does this (docs/storage.md#variants): open, `draft` where it is a JPEG, shrink to 400 pixels, write WebP.
Ours adds the limits, the marks, the way through the pipes, and that a bad picture breaks nobody. Interleaved rounds.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from services.storage.media.decoder_pool import ProcessDecoderPool, open_decoder_pool
from services.storage.model import JPEG, PNG, WEBP, PictureType, VariantSpec
from services.storage.settings import StorageSettings

ROUNDS = 5
THUMBNAILS = 24  # a round
WORKERS = 2
SIDE, QUALITY = 400, 70
Sample = tuple[Path, PictureType]
Way = Callable[[Sample], Awaitable[None]]


def bare(path: Path) -> int:
    """The library alone; how many bytes it wrote."""
    with Image.open(path) as picture:
        picture.draft("RGB", (SIDE, SIDE))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        written = BytesIO()
        picture.save(written, "WEBP", quality=QUALITY)
    return len(written.getvalue())


def samples(folder: Path) -> dict[str, Sample]:
    """What docs/storage.md#variants tells of: a square PNG as KIE makes them, and a photograph."""
    found = {"PNG of 1024 x 1024": (folder / "square.png", PNG), "JPEG of 4096 x 3072": (folder / "photo.jpg", JPEG)}
    for (path, _), size in zip(found.values(), ((1024, 1024), (4096, 3072)), strict=True):
        noise = Image.effect_noise((size[0] // 8, size[1] // 8), 90).resize(size)  # neither flat nor incompressible
        Image.merge("RGB", (noise, noise.rotate(180), Image.linear_gradient("L").resize(size))).save(path)
    return found


async def rate(way: Way, sample: Sample) -> float:
    """Thumbnails a second, two in flight."""
    turns = asyncio.Semaphore(WORKERS)

    async def one() -> None:
        async with turns:
            await way(sample)

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(THUMBNAILS)))
    return THUMBNAILS / (time.perf_counter() - begun)


def ways(decoder_pool: ProcessDecoderPool, pool: ProcessPoolExecutor) -> dict[str, Way]:
    """Who makes them, by name."""

    async def ours(sample: Sample) -> None:
        await decoder_pool.derive(*sample, VariantSpec(SIDE, 0, QUALITY, WEBP))

    async def processes(sample: Sample) -> None:
        await asyncio.get_running_loop().run_in_executor(pool, bare, sample[0])

    async def inline(sample: Sample) -> None:
        bare(sample[0])

    return {"kawaii's workers": ours, "the library in two processes": processes, "the library in one": inline}


async def measured(decoder_pool: ProcessDecoderPool, pool: ProcessPoolExecutor, sample: Sample) -> dict[str, float]:
    """Median rates of interleaved rounds, the first thrown away."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS + 1):
        for name, way in ways(decoder_pool, pool).items():
            found.setdefault(name, []).append(await rate(way, sample))
    return {name: statistics.median(rates[1:]) for name, rates in found.items()}


async def main() -> None:
    """Measure each sample and print a table."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(WORKERS) as pool:
        settings = StorageSettings(data_dir=Path(folder), picture_workers=WORKERS, _env_file=None)
        objects = Path(folder) / "objects"  # the workers may read there, and nowhere else
        objects.mkdir()
        async with open_decoder_pool(settings) as decoder_pool:
            for title, sample in samples(objects).items():
                rates = await measured(decoder_pool, pool, sample)
                reference = rates["the library in two processes"]
                print(f"\n| {title} | thumbnails/s | ratio |\n|---|---|---|")
                for name, value in rates.items():
                    print(f"| {name} | {value:.1f} | {value / reference:.2f} |")


if __name__ == "__main__":
    asyncio.run(main())
