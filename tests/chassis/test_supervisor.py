"""Background loops are started again when they crash, and end in order when the service stops."""

import asyncio

from structlog.testing import capture_logs

from services.chassis.errors import Unavailable
from services.chassis.supervisor import supervised
from tests.support.polling import eventually


async def test_a_crashed_loop_is_started_again() -> None:
    starts: list[int] = []

    async def loop() -> None:
        starts.append(1)
        raise ValueError("poison")

    with capture_logs() as logs:
        async with supervised([loop]):
            await eventually(lambda: len(starts) > 1)

    assert logs[0]["event"] == "loop_crashed"


async def test_a_crash_leaves_the_other_loops_alone() -> None:
    rounds: list[int] = []

    async def bad() -> None:
        raise ValueError("poison")

    async def good() -> None:
        while True:
            rounds.append(1)
            await asyncio.sleep(0)

    with capture_logs():
        async with supervised([bad, good]):
            await eventually(lambda: len(rounds) > 100)


async def test_loops_put_their_work_in_order_before_the_service_ends() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def loop() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with supervised([loop]):
        await started.wait()

    assert ended.is_set()


async def test_a_loop_whose_database_is_away_starts_again_without_a_trace() -> None:
    starts: list[int] = []

    async def loop() -> None:
        starts.append(1)
        raise Unavailable("The database is away.")

    with capture_logs() as logs:
        async with supervised([loop]):
            await eventually(lambda: len(starts) > 1)

    assert (logs[0]["event"], logs[0]["log_level"], logs[0]["cause"]) == (
        "loop_waits",
        "warning",
        "The database is away.",
    )
    assert "exc_info" not in logs[0]
