"""The service as a process: it serves what was migrated, tells the truth about its health, and ends when told."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from redis.client import PubSub
from sqlalchemy import update

from services.chassis.addresses import ListenPort, port_of
from services.chassis.channels import OPTIONS
from services.chassis.database import connect_database
from services.share.__main__ import CHANNEL
from services.share.settings import ShareSettings
from services.share.stores.tables import request_answer
from tests.support.kills import insisted, killed_behind_commits
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.valkey import Valkey

Start = Callable[..., Awaitable[Process]]
ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0
POLL_SECONDS, POLLS = 0.02, 1000


@pytest.fixture
async def start(settings: ShareSettings, base: int) -> AsyncIterator[Start]:
    """Starts the service; whatever still runs when the test ends is killed."""
    given = {
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": "none",
        "INTERNAL_PORT_BASE": str(base),
    }
    started: list[Process] = []

    async def run(**environment: str) -> Process:
        command = (sys.executable, "-m", "services.share")
        environment = os.environ | given | environment
        started.append(await create_subprocess_exec(*command, cwd=ROOT, env=environment, stderr=PIPE))
        return started[-1]

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
def base() -> int:
    return free_port() - ListenPort.SHARE


@pytest.fixture
async def channel(base: int) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(f"127.0.0.1:{port_of(ListenPort.SHARE, base)}") as opened:
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


async def test_the_process_serves_and_keeps_what_it_was_told(start: Start, channel: aio.Channel) -> None:
    stub = sharerpc.ShareServiceStub(channel)
    share = sharepb.Share(generated_uri="https://site.example/files/generated/a.png")
    site = {"APP_URL": "https://site.example", "SHARE_LIST_POLICY": "published"}

    process = await start(**site)
    await serving(channel)
    created = await stub.CreateShare(sharepb.CreateShareRequest(share=share))
    process.kill()
    await process.communicate()
    process = await start(**site)
    await serving(channel)

    found = await stub.GetShare(sharepb.GetShareRequest(name=created.share.name), wait_for_ready=True)
    assert found == created.share
    assert found.stored
    assert (await stub.ListShares(sharepb.ListSharesRequest())).total_size == 0
    process.send_signal(signal.SIGTERM)
    _, log = await process.communicate()
    assert process.returncode == 0
    assert created.publish_token not in log.decode()


@pytest.mark.timeout(600)  # six starts, on a machine that may be busy
async def test_a_kill_behind_any_commit_leaves_one_effect_of_a_call_that_is_repeated(
    settings: ShareSettings, start: Start, base: int, tmp_path: Path
) -> None:
    """Each call carries one key, and is repeated until it is answered."""
    functions = ("_find_or_begin", "insert", "_run", "publish", "delete")

    async def run_leases_out() -> None:
        async with connect_database(settings, "share") as database:
            overdue = update(request_answer).where(request_answer.c.answer.is_(None)).values(due_ms=0)
            await database.write(lambda transaction: transaction.execute(overdue) and None)

    address = f"127.0.0.1:{port_of(ListenPort.SHARE, base)}"
    async with (
        aio.insecure_channel(address, options=OPTIONS) as channel,
        killed_behind_commits(start, functions, tmp_path / "failpoints", run_leases_out) as killed,
    ):
        stub = sharerpc.ShareServiceStub(channel)

        async def create(label: str) -> sharepb.CreateShareResponse:
            share = sharepb.Share(generated_uri=f"https://pictures.example/{label}.png")
            request, key = sharepb.CreateShareRequest(share=share), (("idempotency-key", label),)
            return await insisted(
                lambda seconds: stub.CreateShare(request, metadata=key, wait_for_ready=True, timeout=seconds)
            )

        first, second, third = [await create(label) for label in ("a", "b", "c")]
        publish = sharepb.PublishShareRequest(name=second.share.name, token=second.publish_token)
        key = (("idempotency-key", "publish"),)
        published = await insisted(
            lambda seconds: stub.PublishShare(publish, metadata=key, wait_for_ready=True, timeout=seconds)
        )
        remove = sharepb.DeleteShareRequest(name=third.share.name, token=third.publish_token)
        with pytest.raises(aio.AioRpcError) as gone:  # the first try had deleted it
            await insisted(lambda seconds: stub.DeleteShare(remove, wait_for_ready=True, timeout=seconds))
        await eventually(lambda: len(killed) == len(functions))
        stats = await insisted(
            lambda seconds: stub.GetShareStats(sharepb.GetShareStatsRequest(), wait_for_ready=True, timeout=seconds)
        )
        listed = await stub.BatchGetShares(sharepb.BatchGetSharesRequest(names=[first.share.name, third.share.name]))

    assert sorted(killed) == sorted(functions)
    assert gone.value.code() == StatusCode.NOT_FOUND
    assert (stats.total_count, stats.published_count) == (2, 1)
    assert (published.name, published.published) == (second.share.name, True)
    assert [share.name for share in listed.shares] == [first.share.name]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_the_process_refuses_a_database_that_was_not_migrated(settings: ShareSettings, start: Start) -> None:
    (settings.data_dir / "share.sqlite3").unlink()

    process = await start()
    _, log = await process.communicate()

    assert process.returncode == 78
    assert b"kawaii migrate" in log


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_the_process_names_every_wrong_setting(start: Start) -> None:
    wrong = {"SHARE_LIST_POLICY": "some", "SHARE_LATEST_CACHE_SECONDS": "0"}

    process = await start(**wrong)
    _, log = await process.communicate()

    assert process.returncode
    assert all(name.encode() in log for name in wrong)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_the_process_announces_what_changes_and_keeps_records_in_redis(
    start: Start, channel: aio.Channel, valkey: Valkey
) -> None:
    notices = valkey.redis.pubsub(ignore_subscribe_messages=True)
    notices.subscribe(CHANNEL)
    stub = sharerpc.ShareServiceStub(channel)
    share = sharepb.Share(generated_uri="https://a.example/a.png")
    await start(REDIS_URL=valkey.url)
    await serving(channel)

    created = await stub.CreateShare(sharepb.CreateShareRequest(share=share))
    share_id = created.share.name.removeprefix("shares/")
    await stub.GetShare(sharepb.GetShareRequest(name=created.share.name))
    kept = valkey.redis.exists(f"share:{share_id}")
    await stub.DeleteShare(sharepb.DeleteShareRequest(name=created.share.name, token=created.publish_token))

    heard = [await asyncio.to_thread(heard_text, notices) for _ in range(2)]
    assert heard == [f"created {share_id}", share_id]
    assert (kept, valkey.redis.exists(f"share:{share_id}")) == (1, 0)
    notices.close()


def heard_text(notices: PubSub) -> str:
    """The next notice that says what changed."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        message = notices.get_message(timeout=DEADLINE_SECONDS)
        if message and message["data"]:
            return str(message["data"].decode())
    raise AssertionError("nothing was announced")
