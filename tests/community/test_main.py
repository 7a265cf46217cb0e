"""The service as a process: killed at its worst moments, it loses no order, orders nothing twice and keeps no hold."""

import asyncio
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2
from kawaii.community.v1 import admin_pb2 as adminpb
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.addresses import ListenPort, address_of
from services.chassis.channels import OPTIONS
from services.chassis.server import Mount
from services.community.core.credits import CHECK_IN_CREDITS
from services.community.settings import CommunitySettings
from tests.community.fake_generation_servicer import FakeGenerationServicer
from tests.community.steps import ANN, BOB
from tests.community.stubs import Client
from tests.support.kills import insisted, killed_behind_commits
from tests.support.polling import eventually
from tests.support.ports import free_base
from tests.support.servers import serving

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
Start = Callable[..., Awaitable[Process]]
ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0
WISH = artworkspb.CreateArtworkRequest(viewer_id=ANN, prompt="a cat", model="m")


@pytest.fixture
def base() -> int:
    return free_base()


@pytest.fixture
async def fake_servicer(base: int) -> AsyncIterator[FakeGenerationServicer]:
    """The generation service that this stack calls."""
    servicer = FakeGenerationServicer()
    mount = Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR)
    async with serving(mount, address=address_of(ListenPort.GENERATION, base)):
        yield servicer


@pytest.fixture
async def start(settings: CommunitySettings, base: int) -> AsyncIterator[Start]:
    """Starts the service; whatever still runs when the test ends is killed."""
    given = {
        "DATA_DIR": str(settings.data_dir),
        "REDIS_URL": "none",
        "INTERNAL_PORT_BASE": str(base),
        "CREDITS_ENABLED": "1",
        "CREDITS_INITIAL": "7",
    }
    started: list[Process] = []

    async def run(**environment: str) -> Process:
        command = (sys.executable, "-m", "services.community")
        started.append(
            await create_subprocess_exec(*command, cwd=ROOT, env=os.environ | given | environment, stderr=PIPE)
        )
        return started[-1]

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def stack(base: int) -> AsyncIterator[Client]:
    """A client that finds a restarted service at once, however long its start took."""
    address = address_of(ListenPort.COMMUNITY, base)
    async with aio.insecure_channel(address, options=OPTIONS) as channel:
        yield Client(channel)


async def listed(stack: Client) -> list[artworkspb.Artwork]:
    """All artworks, whatever their state."""
    records = stack.users.ExportUser(userspb.ExportUserRequest(viewer_id=ANN), wait_for_ready=True)
    try:
        return [record.artwork async for record in records if record.HasField("artwork")]
    except aio.AioRpcError:  # it is being killed at this moment
        return []


@pytest.mark.parametrize("point", ["", "order.opened", "event.read", "order.heard"])
async def test_a_death_at_any_point_ends_with_one_picture_paid_once(
    settings: CommunitySettings, start: Start, stack: Client, fake_servicer: FakeGenerationServicer, point: str
) -> None:
    process = await start(FAILPOINT=f"{point}:kill:1") if point else await start()
    try:
        await stack.artworks.CreateArtwork(WISH, wait_for_ready=True, timeout=DEADLINE_SECONDS)
    except aio.AioRpcError:
        assert point
    if point:
        assert await asyncio.wait_for(process.wait(), DEADLINE_SECONDS) == -signal.SIGKILL
        make_due(settings)
        await start()
        mine = creditspb.GetBalanceRequest(viewer_id=ANN)
        await stack.credits.GetBalance(mine, wait_for_ready=True, timeout=DEADLINE_SECONDS)  # it takes long to start

    async def finished_draft() -> bool:
        return [each.state for each in await listed(stack)] == [artworkspb.Artwork.STATE_DRAFT]

    await eventually(finished_draft)
    balance = await stack.credits.GetBalance(creditspb.GetBalanceRequest(viewer_id=ANN))

    assert (balance.credits, balance.held_credits) == (4, 0)
    assert len(fake_servicer.made) == len(set(fake_servicer.asked)) == 1
    (artwork,) = await listed(stack)
    assert (artwork.object, artwork.order.generation_id) == ("objects/generated/gen_1/0.png", "gen_1")


@pytest.mark.timeout(600)  # eight starts, on a machine that may be busy
async def test_a_kill_behind_any_commit_leaves_one_effect_of_a_call_that_is_repeated(
    settings: CommunitySettings, start: Start, base: int, fake_servicer: FakeGenerationServicer, tmp_path: Path
) -> None:
    functions = ("open", "_change", "_react", "report", "check_in", "privacy", "_remove")

    async def run_leases_out() -> None:
        make_due(settings)

    async with (
        aio.insecure_channel(address_of(ListenPort.COMMUNITY, base), options=OPTIONS) as channel,
        killed_behind_commits(start, functions, tmp_path / "failpoints", run_leases_out) as killed,
    ):
        stack = Client(channel)

        async def call(method: Any, request: Any) -> Any:
            return await insisted(lambda seconds: method(request, wait_for_ready=True, timeout=seconds))

        wish = artworkspb.CreateArtworkRequest(viewer_id=ANN, prompt="a cat", model="m", request_id="r")
        await call(stack.artworks.CreateArtwork, wish)

        async def finished() -> list[artworkspb.Artwork]:
            return [each for each in await listed(stack) if each.state == artworkspb.Artwork.STATE_DRAFT]

        (draft,) = await eventually(finished)
        await call(stack.artworks.PublishArtwork, artworkspb.PublishArtworkRequest(viewer_id=ANN, name=draft.name))
        liked = await call(stack.artworks.LikeArtwork, artworkspb.LikeArtworkRequest(viewer_id=BOB, name=draft.name))
        complaint = artworkspb.ReportArtworkRequest(viewer_id=BOB, name=draft.name, reason="a dog")
        await call(stack.artworks.ReportArtwork, complaint)
        checked_in = await call(stack.credits.CheckIn, creditspb.CheckInRequest(viewer_id=ANN))
        user = await call(stack.users.UpdatePrivacy, userspb.UpdatePrivacyRequest(viewer_id=ANN, hide_name=True))
        balance = await call(stack.credits.GetBalance, creditspb.GetBalanceRequest(viewer_id=ANN))
        reports = await call(stack.admin.ListReports, adminpb.ListReportsRequest())
        with pytest.raises(aio.AioRpcError) as gone:  # the first try had deleted it
            await call(stack.artworks.DeleteArtwork, artworkspb.DeleteArtworkRequest(viewer_id=ANN, name=draft.name))
        await eventually(lambda: len(killed) == len(functions))

    assert sorted(killed) == sorted(functions)
    assert (liked.like_count, liked.liked) == (1, True)
    assert (checked_in.checked_in, checked_in.total_count) == (True, 1)
    assert (balance.credits, balance.held_credits) == (4 + CHECK_IN_CREDITS, 0)
    assert [report.reason for report in reports.reports] == ["a dog"]
    assert user.hide_name
    assert gone.value.code() == StatusCode.NOT_FOUND
    assert len(fake_servicer.made) == 1


def make_due(settings: CommunitySettings) -> None:
    """As when the lease of whoever died has run out."""
    with closing(sqlite3.connect(settings.data_dir / "community.sqlite3")) as database, database:
        database.execute("UPDATE artwork_order SET due_ms = 0 WHERE state IN ('PENDING', 'RUNNING')")


@pytest.mark.usefixtures("fake_servicer")
async def test_it_tells_the_truth_about_its_health_and_stops_when_told(start: Start, stack: Client) -> None:
    process = await start()
    request = health_pb2.HealthCheckRequest(service="kawaii.community.v1.ArtworkService")

    async def serving() -> bool:
        answer = await stack.health.Check(request, wait_for_ready=True)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    await eventually(serving)
    process.terminate()

    assert await asyncio.wait_for(process.wait(), DEADLINE_SECONDS) == 0
