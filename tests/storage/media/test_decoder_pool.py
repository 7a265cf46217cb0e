"""Workers come and go, break and are replaced; the service, and the next picture, never notice."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from services.storage.media.decoder_pool import ProcessDecoderPool, open_decoder_pool
from services.storage.model import GIF, JPEG, PNG, WEBP, Lane, VariantSpec
from services.storage.settings import StorageSettings
from tests.storage.media.builders import gradient, saved, tiff, webp, with_chunk
from tests.storage.media.conftest import KINDS, WriteFile, inspected, workers
from tests.storage.media.costly import COSTLY, ENDLESS
from tests.support.polling import eventually

PICTURE = saved(gradient(30, 20), "png")
STUCK, BUSY, INVALID, LARGE = signal.SIGSTOP, "STUDIO_BUSY", "INVALID_IMAGE", "IMAGE_TOO_LARGE"


async def started(decoder_pool: ProcessDecoderPool, path: Path) -> psutil.Process:
    """A worker that has done something and rests."""
    assert (await inspected(decoder_pool, path, "png"))[0] == "ok"
    return psutil.Process(workers(decoder_pool)[-1].process.pid)


async def test_a_picture_is_measured(decoder_pool: ProcessDecoderPool, write_file: WriteFile) -> None:
    facts = await decoder_pool.inspect(write_file(PICTURE), PNG)

    assert (facts.width, facts.height, facts.frames, facts.rest, facts.edits) == (30, 20, 1, 0, ())
    assert 20 <= len(facts.thumb_hash) <= 36


async def test_no_worker_runs_before_the_first_picture_and_one_serves_many(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile
) -> None:
    assert not workers(decoder_pool)

    worker = await started(decoder_pool, write_file(PICTURE))
    assert await started(decoder_pool, write_file(PICTURE)) == worker


@pytest.mark.parametrize("settings", [StorageSettings(picture_idle_seconds=0.05, _env_file=None)])
async def test_an_idle_worker_ends(decoder_pool: ProcessDecoderPool, write_file: WriteFile) -> None:
    worker = await started(decoder_pool, write_file(PICTURE))

    await eventually(lambda: not worker.is_running())
    assert not workers(decoder_pool)


async def test_workers_end_with_the_pool(write_file: WriteFile, tmp_path: Path) -> None:
    async with open_decoder_pool(StorageSettings(storage_dir=tmp_path, _env_file=None)) as decoder_pool:
        worker = await started(decoder_pool, write_file(PICTURE))

    assert not worker.is_running()


@pytest.mark.parametrize("settings", [StorageSettings(picture_seconds=0.6, _env_file=None)])
async def test_a_worker_that_hangs_is_replaced_and_the_client_may_try_again(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile
) -> None:
    path = write_file(PICTURE)
    decoder_pool._settings = decoder_pool._settings.model_copy(update={"picture_seconds": 20.0})
    worker = await started(decoder_pool, path)
    decoder_pool._settings = decoder_pool._settings.model_copy(update={"picture_seconds": 0.3})
    worker.send_signal(STUCK)

    assert (await inspected(decoder_pool, path, "png"))[0] == BUSY
    decoder_pool._settings = decoder_pool._settings.model_copy(update={"picture_seconds": 20.0})
    assert await started(decoder_pool, path) != worker
    await eventually(lambda: not worker.is_running())


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, BUSY), (signal.SIGSEGV, INVALID), (signal.SIGABRT, INVALID), (signal.SIGXCPU, LARGE)],
)
async def test_the_exit_status_of_a_worker_decides_whether_the_picture_is_at_fault(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile, number: signal.Signals, reason: str
) -> None:
    path = write_file(PICTURE)
    worker = await started(decoder_pool, path)
    worker.send_signal(STUCK)
    running = asyncio.create_task(inspected(decoder_pool, path, "png"))
    await eventually(lambda: not workers(decoder_pool))
    worker.send_signal(number)
    worker.send_signal(signal.SIGCONT)

    assert (await running)[0] == reason
    assert (await inspected(decoder_pool, path, "png"))[0] == "ok"


async def test_an_idle_worker_that_died_is_not_used(decoder_pool: ProcessDecoderPool, write_file: WriteFile) -> None:
    worker = await started(decoder_pool, write_file(PICTURE))
    [resting] = workers(decoder_pool)
    worker.kill()
    await resting.process.wait()

    assert (await inspected(decoder_pool, write_file(PICTURE), "png"))[0] == "ok"


@pytest.mark.parametrize("settings", [StorageSettings(picture_cpu_seconds=1, picture_seconds=60, _env_file=None)])
async def test_a_picture_that_takes_too_much_time_of_the_processor_is_refused(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile
) -> None:
    """A thousand frames, each of them honest."""
    path = write_file(webp(400, 400, 1000, Image.effect_noise((400, 400), 80).convert("RGB")))

    assert (await inspected(decoder_pool, path, "webp"))[0] == LARGE
    assert (await inspected(decoder_pool, write_file(PICTURE), "png"))[0] == "ok"


@pytest.mark.parametrize("settings", [StorageSettings(picture_workers=1, picture_queue=2, _env_file=None)])
async def test_few_pictures_are_decoded_few_wait_and_the_others_are_refused(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile
) -> None:
    path = write_file(PICTURE)
    fates = await asyncio.gather(*(inspected(decoder_pool, path, "png") for _ in range(9)))

    assert [fate for fate, _ in fates].count("ok") == 3
    assert {fate for fate, _ in fates} == {"ok", BUSY}
    assert len(workers(decoder_pool)) == 1


@pytest.mark.parametrize("settings", [StorageSettings(picture_workers=1, picture_queue=1, _env_file=None)])
async def test_a_result_does_not_wait_for_what_clients_sent(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile
) -> None:
    path = write_file(PICTURE)
    worker = await started(decoder_pool, path)
    worker.send_signal(STUCK)
    running = [asyncio.create_task(inspected(decoder_pool, path, "png")) for _ in range(3)]
    await eventually(lambda: not workers(decoder_pool))

    assert (await decoder_pool.inspect(path, PNG, Lane.RESULTS)).width == 30
    assert sum(task.done() for task in running) <= 1  # refused: it was the second that would have waited
    worker.send_signal(signal.SIGCONT)
    assert sorted(fate for fate, _ in await asyncio.gather(*running)) == [BUSY, "ok", "ok"]


async def test_locations_are_searched_in_files_of_clients_only(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile
) -> None:
    path = write_file(with_chunk(PICTURE, b"eXIf", tiff()))

    assert (await decoder_pool.inspect(path, PNG)).edits
    assert not (await decoder_pool.inspect(path, PNG, Lane.RESULTS)).edits


@pytest.mark.parametrize("settings", [StorageSettings(picture_cpu_seconds=1, picture_seconds=60, _env_file=None)])
@pytest.mark.parametrize("name", sorted(COSTLY))
async def test_no_metadata_of_a_client_takes_long(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile, name: str
) -> None:
    """The kernel ends a worker at two seconds of the processor: a quarter of these bytes took more once."""
    extension, content = COSTLY[name]()

    assert (await inspected(decoder_pool, write_file(content), extension))[0] == "ok"


@pytest.mark.parametrize("name", sorted(ENDLESS))
async def test_metadata_of_more_pieces_than_any_honest_picture_has_is_refused(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile, name: str
) -> None:
    extension, content = ENDLESS[name]()

    assert (await inspected(decoder_pool, write_file(content), extension))[0] == LARGE


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif"])
async def test_a_photograph_of_48_megapixels_is_taken_in_every_format(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile, extension: str
) -> None:
    """Phones make them; the bound that is promised is the bound that holds."""
    options = {"method": 0} if extension == "webp" else {}
    path = write_file(saved(Image.linear_gradient("L").resize((8000, 6000)).convert("RGB"), extension, **options))

    assert (await inspected(decoder_pool, path, extension))[0] == "ok"
    assert (await decoder_pool.derive(path, KINDS[extension], VariantSpec(64, 0, 70, WEBP))).width == 64


async def test_a_file_that_went_away_is_no_fault_of_the_picture(
    decoder_pool: ProcessDecoderPool, tmp_path: Path
) -> None:
    assert (await inspected(decoder_pool, tmp_path / "gone", "png"))[0] == BUSY


async def test_a_caller_that_leaves_frees_its_slot(decoder_pool: ProcessDecoderPool, write_file: WriteFile) -> None:
    path = write_file(PICTURE)
    worker = await started(decoder_pool, path)
    worker.send_signal(STUCK)
    leaving = asyncio.create_task(inspected(decoder_pool, path, "png"))
    await eventually(lambda: not workers(decoder_pool))
    leaving.cancel()

    await eventually(lambda: not worker.is_running())
    assert (await inspected(decoder_pool, path, "png"))[0] == "ok"


async def test_a_worker_is_confined_and_knows_no_secret(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIE_AI_API_KEY", "a-secret")
    worker = await started(decoder_pool, write_file(PICTURE))

    assert worker.rlimit(psutil.RLIMIT_AS) == (1024 * 1024 * 1024,) * 2
    assert worker.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert worker.rlimit(psutil.RLIMIT_NOFILE) == (32, 32)
    assert worker.rlimit(psutil.RLIMIT_CPU)[0] <= 8
    assert "KIE_AI_API_KEY" not in worker.environ()
    assert not worker.net_connections()


async def test_a_worker_whose_service_was_killed_ends(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(PICTURE)
    program = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from services.storage.model import PNG\n"
        "from services.storage.media.decoder_pool import ProcessDecoderPool\n"
        "from services.storage.settings import StorageSettings\n"
        "async def main():\n"
        "    path = Path(sys.argv[1])\n"
        "    decoder_pool = ProcessDecoderPool(StorageSettings(storage_dir=path.parent, _env_file=None))\n"
        "    await decoder_pool.inspect(path, PNG)\n"
        "    print(decoder_pool._idle[0][0].process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "picture"]
    killed = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

    assert killed.returncode == -signal.SIGKILL
    await eventually(lambda: not psutil.pid_exists(int(killed.stdout)) or is_ended(int(killed.stdout)))


def is_ended(pid: int) -> bool:
    """Whether nothing of a process is left but its exit status."""
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_service_itself_never_loads_pillow() -> None:
    program = (
        "import sys\n"
        "import services.storage.core, services.storage.servicer, services.storage.listener\n"
        "from services.storage.media.decoder_pool import open_decoder_pool\n"
        "from services.storage.settings import StorageSettings\n"
        "open_decoder_pool(StorageSettings(_env_file=None))\n"
        "sys.exit('PIL' in sys.modules)\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ)).returncode == 0


@pytest.mark.parametrize("target", [PNG, JPEG, WEBP])
async def test_a_smaller_picture_is_made_in_each_format(
    decoder_pool: ProcessDecoderPool, write_file: WriteFile, target: object
) -> None:
    assert target in {PNG, JPEG, WEBP}
    made = await decoder_pool.derive(write_file(saved(gradient(300, 200), "gif")), GIF, VariantSpec(64, 0, 70, target))  # type: ignore[arg-type] # one of the three

    assert (made.width, made.height) == (64, 43)
