"""The service as a process: it serves what was migrated, tells the truth about its health, and ends when told."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from services.chassis.town import Resident, port_of
from services.share.settings import ShareSettings
from tests.engines import free_port

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0
POLL_SECONDS, POLLS = 0.02, 1000


async def start(settings: ShareSettings, base: int, **environment: str) -> asyncio.subprocess.Process:
    given = {
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": "none",
        "INTERNAL_PORT_BASE": str(base),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.share",
        cwd=ROOT,
        env=os.environ | given | environment,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.fixture
def base() -> int:
    return free_port() - Resident.SHARE


@pytest.fixture
async def channel(base: int) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(f"127.0.0.1:{port_of(Resident.SHARE, base)}") as opened:
        yield opened


async def serving(channel: aio.Channel) -> None:
    """Wait until the service says that it serves."""
    health, serving = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckResponse.SERVING
    request = health_pb2.HealthCheckRequest(service="kawaii.share.v1.ShareService")
    for _ in range(POLLS):
        if (await health.Check(request, wait_for_ready=True, timeout=DEADLINE_SECONDS)).status == serving:
            return
        await asyncio.sleep(POLL_SECONDS)
    pytest.fail("the service never became healthy")


async def test_the_process_serves_and_keeps_what_it_was_told(
    settings: ShareSettings, base: int, channel: aio.Channel
) -> None:
    stub = sharerpc.ShareServiceStub(channel)
    share = sharepb.Share(generated_uri="https://site.example/files/generated/a.png")
    site = {"APP_URL": "https://site.example", "SHARE_LIST_POLICY": "published"}

    process = await start(settings, base, **site)
    await serving(channel)
    created = await stub.CreateShare(sharepb.CreateShareRequest(share=share))
    process.kill()
    await process.communicate()
    process = await start(settings, base, **site)
    await serving(channel)

    found = await stub.GetShare(sharepb.GetShareRequest(name=created.share.name), wait_for_ready=True)
    assert found == created.share
    assert found.stored
    assert (await stub.ListShares(sharepb.ListSharesRequest())).total_size == 0
    process.send_signal(signal.SIGTERM)
    _, log = await process.communicate()
    assert process.returncode == 0
    assert created.publish_token not in log.decode()


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_the_process_refuses_a_database_that_was_not_migrated(settings: ShareSettings, base: int) -> None:
    (settings.data_dir / "share.sqlite3").unlink()

    process = await start(settings, base)
    _, log = await process.communicate()

    assert process.returncode == 78
    assert b"kawaii migrate" in log


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_the_process_names_every_wrong_setting(settings: ShareSettings, base: int) -> None:
    wrong = {"SHARE_LIST_POLICY": "some", "SHARE_LATEST_CACHE_SECONDS": "0"}

    process = await start(settings, base, **wrong)
    _, log = await process.communicate()

    assert process.returncode
    assert all(name.encode() in log for name in wrong)
