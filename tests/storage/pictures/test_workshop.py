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

from services.storage.model import GIF, JPEG, PNG, WEBP, Lane, Recipe
from services.storage.pictures.workshop import Workshop, opened
from services.storage.settings import StorageSettings
from tests.storage.pictures.builders import gradient, saved, tiff, webp, with_chunk
from tests.storage.pictures.conftest import KINDS, Shelf, looked, workers
from tests.storage.pictures.costly import COSTLY, ENDLESS
from tests.storage.samples import until

PICTURE = saved(gradient(30, 20), "png")
STUCK, BUSY, INVALID, LARGE = signal.SIGSTOP, "STUDIO_BUSY", "INVALID_IMAGE", "IMAGE_TOO_LARGE"


async def started(workshop: Workshop, path: Path) -> psutil.Process:
    """A worker that has done something and rests."""
    assert (await looked(workshop, path, "png"))[0] == "ok"
    return psutil.Process(workers(workshop)[-1].process.pid)


async def test_a_picture_is_measured(workshop: Workshop, shelf: Shelf) -> None:
    facts = await workshop.inspect(shelf(PICTURE), PNG)

    assert (facts.width, facts.height, facts.frames, facts.rest, facts.edits) == (30, 20, 1, 0, ())
    assert 20 <= len(facts.thumb_hash) <= 36


async def test_no_worker_runs_before_the_first_picture_and_one_serves_many(workshop: Workshop, shelf: Shelf) -> None:
    assert not workers(workshop)

    worker = await started(workshop, shelf(PICTURE))
    assert await started(workshop, shelf(PICTURE)) == worker


@pytest.mark.parametrize("settings", [StorageSettings(picture_idle_seconds=0.05, _env_file=None)])
async def test_an_idle_worker_ends(workshop: Workshop, shelf: Shelf) -> None:
    worker = await started(workshop, shelf(PICTURE))

    await until(lambda: not worker.is_running())
    assert not workers(workshop)


async def test_workers_end_with_the_workshop(shelf: Shelf, tmp_path: Path) -> None:
    async with opened(StorageSettings(storage_dir=tmp_path, _env_file=None)) as workshop:
        worker = await started(workshop, shelf(PICTURE))

    assert not worker.is_running()


@pytest.mark.parametrize("settings", [StorageSettings(picture_seconds=0.6, _env_file=None)])
async def test_a_worker_that_hangs_is_replaced_and_the_client_told_to_come_back(
    workshop: Workshop, shelf: Shelf
) -> None:
    path = shelf(PICTURE)
    workshop._settings = workshop._settings.model_copy(update={"picture_seconds": 20.0})
    worker = await started(workshop, path)
    workshop._settings = workshop._settings.model_copy(update={"picture_seconds": 0.3})
    worker.send_signal(STUCK)

    assert (await looked(workshop, path, "png"))[0] == BUSY
    workshop._settings = workshop._settings.model_copy(update={"picture_seconds": 20.0})
    assert await started(workshop, path) != worker
    await until(lambda: not worker.is_running())


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, BUSY), (signal.SIGSEGV, INVALID), (signal.SIGABRT, INVALID), (signal.SIGXCPU, LARGE)],
)
async def test_how_a_worker_dies_tells_whether_the_picture_is_at_fault(
    workshop: Workshop, shelf: Shelf, number: signal.Signals, reason: str
) -> None:
    path = shelf(PICTURE)
    worker = await started(workshop, path)
    worker.send_signal(STUCK)
    running = asyncio.create_task(looked(workshop, path, "png"))
    await until(lambda: not workers(workshop))
    worker.send_signal(number)
    worker.send_signal(signal.SIGCONT)

    assert (await running)[0] == reason
    assert (await looked(workshop, path, "png"))[0] == "ok"


async def test_a_worker_that_died_while_it_rested_is_not_asked(workshop: Workshop, shelf: Shelf) -> None:
    worker = await started(workshop, shelf(PICTURE))
    [resting] = workers(workshop)
    worker.kill()
    await resting.process.wait()

    assert (await looked(workshop, shelf(PICTURE), "png"))[0] == "ok"


@pytest.mark.parametrize("settings", [StorageSettings(picture_cpu_seconds=1, picture_seconds=60, _env_file=None)])
async def test_a_picture_that_takes_too_much_time_of_the_processor_is_refused(workshop: Workshop, shelf: Shelf) -> None:
    """A thousand frames, each of them honest."""
    path = shelf(webp(400, 400, 1000, Image.effect_noise((400, 400), 80).convert("RGB")))

    assert (await looked(workshop, path, "webp"))[0] == LARGE
    assert (await looked(workshop, shelf(PICTURE), "png"))[0] == "ok"


@pytest.mark.parametrize("settings", [StorageSettings(picture_workers=1, picture_queue=2, _env_file=None)])
async def test_few_work_few_wait_and_the_others_are_told_to_come_back(workshop: Workshop, shelf: Shelf) -> None:
    path = shelf(PICTURE)
    fates = await asyncio.gather(*(looked(workshop, path, "png") for _ in range(9)))

    assert [fate for fate, _ in fates].count("ok") == 3
    assert {fate for fate, _ in fates} == {"ok", BUSY}
    assert len(workers(workshop)) == 1


@pytest.mark.parametrize("settings", [StorageSettings(picture_workers=1, picture_queue=1, _env_file=None)])
async def test_a_result_does_not_wait_for_what_clients_sent(workshop: Workshop, shelf: Shelf) -> None:
    path = shelf(PICTURE)
    worker = await started(workshop, path)
    worker.send_signal(STUCK)
    running = [asyncio.create_task(looked(workshop, path, "png")) for _ in range(3)]
    await until(lambda: not workers(workshop))

    assert (await workshop.inspect(path, PNG, Lane.RESULTS)).width == 30
    assert sum(task.done() for task in running) <= 1  # refused: it was the second that would have waited
    worker.send_signal(signal.SIGCONT)
    assert sorted(fate for fate, _ in await asyncio.gather(*running)) == [BUSY, "ok", "ok"]


async def test_places_are_looked_for_in_what_clients_bring_only(workshop: Workshop, shelf: Shelf) -> None:
    path = shelf(with_chunk(PICTURE, b"eXIf", tiff()))

    assert (await workshop.inspect(path, PNG)).edits
    assert not (await workshop.inspect(path, PNG, Lane.RESULTS)).edits


@pytest.mark.parametrize("settings", [StorageSettings(picture_cpu_seconds=1, picture_seconds=60, _env_file=None)])
@pytest.mark.parametrize("name", sorted(COSTLY))
async def test_no_metadata_of_a_client_takes_long(workshop: Workshop, shelf: Shelf, name: str) -> None:
    """The kernel ends a worker at two seconds of the processor: a quarter of these bytes took more once."""
    extension, content = COSTLY[name]()

    assert (await looked(workshop, shelf(content), extension))[0] == "ok"


@pytest.mark.parametrize("name", sorted(ENDLESS))
async def test_metadata_of_more_pieces_than_any_honest_picture_has_is_refused(
    workshop: Workshop, shelf: Shelf, name: str
) -> None:
    extension, content = ENDLESS[name]()

    assert (await looked(workshop, shelf(content), extension))[0] == LARGE


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif"])
async def test_a_photograph_of_48_megapixels_is_taken_in_every_format(
    workshop: Workshop, shelf: Shelf, extension: str
) -> None:
    """Phones make them; the bound that is promised is the bound that holds."""
    options = {"method": 0} if extension == "webp" else {}
    path = shelf(saved(Image.linear_gradient("L").resize((8000, 6000)).convert("RGB"), extension, **options))

    assert (await looked(workshop, path, extension))[0] == "ok"
    assert (await workshop.derive(path, KINDS[extension], Recipe(64, 0, 70, WEBP))).width == 64


async def test_a_file_that_went_away_is_no_fault_of_the_picture(workshop: Workshop, tmp_path: Path) -> None:
    assert (await looked(workshop, tmp_path / "gone", "png"))[0] == BUSY


async def test_a_caller_that_leaves_frees_the_place(workshop: Workshop, shelf: Shelf) -> None:
    path = shelf(PICTURE)
    worker = await started(workshop, path)
    worker.send_signal(STUCK)
    leaving = asyncio.create_task(looked(workshop, path, "png"))
    await until(lambda: not workers(workshop))
    leaving.cancel()

    await until(lambda: not worker.is_running())
    assert (await looked(workshop, path, "png"))[0] == "ok"


async def test_a_worker_is_confined_and_knows_no_secret(
    workshop: Workshop, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIE_AI_API_KEY", "a-secret")
    worker = await started(workshop, shelf(PICTURE))

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
        "from services.storage.pictures.workshop import Workshop\n"
        "from services.storage.settings import StorageSettings\n"
        "async def main():\n"
        "    path = Path(sys.argv[1])\n"
        "    workshop = Workshop(StorageSettings(storage_dir=path.parent, _env_file=None))\n"
        "    await workshop.inspect(path, PNG)\n"
        "    print(workshop._idle[0][0].process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "picture"]
    killed = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

    assert killed.returncode == -signal.SIGKILL
    await until(lambda: not psutil.pid_exists(int(killed.stdout)) or is_ended(int(killed.stdout)))


def is_ended(pid: int) -> bool:
    """Whether nothing of a process is left but its exit status."""
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_service_itself_never_loads_pillow() -> None:
    program = (
        "import sys\n"
        "import services.storage.core, services.storage.servicer, services.storage.listener\n"
        "from services.storage.pictures import STUDIOS\n"
        "from services.storage.settings import StorageSettings\n"
        "STUDIOS['pillow'](StorageSettings(_env_file=None))\n"
        "sys.exit('PIL' in sys.modules)\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ)).returncode == 0


@pytest.mark.parametrize("target", [PNG, JPEG, WEBP])
async def test_a_smaller_picture_is_made_in_each_format(workshop: Workshop, shelf: Shelf, target: object) -> None:
    assert target in {PNG, JPEG, WEBP}
    made = await workshop.derive(shelf(saved(gradient(300, 200), "gif")), GIF, Recipe(64, 0, 70, target))  # type: ignore[arg-type] # one of the three

    assert (made.width, made.height) == (64, 43)
