"""Two generation processes on one PostgreSQL: one order of a request, one submit, one pool of keys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.migrations import migrate
from services.generation.settings import GenerationSettings
from tests.generation.test_servicer import order
from tests.generation.upstream import Upstream, reply
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.replicas import Replica, refusal, replica, replicas

pytestmark = pytest.mark.timeout(300)  # several processes start, also on a busy machine

Pb = generationpb.Generation
KEY = "a-provider-key"
ACCEPTED = {"code": 200, "msg": "success", "data": {"taskId": "task1"}}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A provider that takes every order."""
    async with Upstream(reply(ACCEPTED)) as upstream:
        yield upstream


@pytest.fixture
async def given(upstream: Upstream, postgres_server: Postgres, tmp_path: Path) -> dict[str, str]:
    """What the replicas of a stack have in common."""
    url = postgres_server.create_database()
    settings = GenerationSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    await asyncio.to_thread(migrate, "generation", settings)
    return {"DATABASE_URL": url, "KIE_AI_API_KEY": KEY, "KIE_AI_BASE_URL": upstream.url}


def submits(upstream: Upstream) -> int:
    return sum(request.line.startswith("POST") for request in upstream.requests)


async def test_a_request_that_reaches_both_is_one_order_and_is_sent_once(
    given: dict[str, str], upstream: Upstream
) -> None:
    wanted = order()
    wanted.request_id = "one-request"
    async with replicas("generation", **given) as two:
        stubs = [generationrpc.GenerationServiceStub(each.channel) for each in two]
        answers = await asyncio.gather(*(stubs[number % 2].CreateGeneration(wanted) for number in range(8)))

        assert len({answer.generation.name for answer in answers}) == 1
        assert [answer.joined for answer in answers].count(False) == 1
        assert submits(upstream) == 1
        seen = [
            await stub.GetGeneration(generationpb.GetGenerationRequest(name=answers[0].generation.name))
            for stub in stubs
        ]
        assert seen[0].provider_task_id == seen[1].provider_task_id == "task1"


async def test_whoever_watches_at_one_hears_what_the_other_does(given: dict[str, str]) -> None:
    async with replicas("generation", **given) as two:
        here, there = (generationrpc.GenerationServiceStub(each.channel) for each in two)
        created = (await here.CreateGeneration(order())).generation
        watch = there.WatchGeneration(generationpb.WatchGenerationRequest(name=created.name))
        changes = aiter(watch)
        assert (await anext(changes)).name == created.name
        await here.CancelGeneration(generationpb.CancelGenerationRequest(name=created.name))

        states = [change.state async for change in changes]
        assert states[-1] == Pb.STATE_CANCELED


async def test_a_key_that_an_operator_disables_at_one_is_used_by_none(
    given: dict[str, str], upstream: Upstream
) -> None:
    async with replicas("generation", **given) as two:
        here, there = (generationadminrpc.GenerationAdminServiceStub(each.channel) for each in two)
        (key,) = (await here.ListProviderKeys(generationadminpb.ListProviderKeysRequest())).provider_keys
        await here.DisableKey(generationadminpb.DisableKeyRequest(name=key.name))
        (seen,) = (await there.ListProviderKeys(generationadminpb.ListProviderKeysRequest())).provider_keys
        assert seen.state == generationadminpb.ProviderKey.STATE_DISABLED

        with pytest.raises(Exception, match=r"UNAVAILABLE|RESOURCE_EXHAUSTED"):
            await generationrpc.GenerationServiceStub(two[1].channel).CreateGeneration(order())
        assert submits(upstream) == 0


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[Replica]:
    await asyncio.to_thread(migrate, "generation", GenerationSettings(data_dir=folder, _env_file=None))
    async with replica("generation", DATA_DIR=str(folder)) as started:
        yield started


async def test_a_second_process_on_a_sqlite_file_is_refused_and_takes_over_when_the_first_was_killed(
    tmp_path: Path,
) -> None:
    async with alone(tmp_path) as first:
        code, said = await refusal("generation", DATA_DIR=str(tmp_path))
        assert code == 78
        assert "another generation process" in said
        assert "DATABASE_URL" in said
        await first.die()
        async with replica("generation", DATA_DIR=str(tmp_path)):
            pass
    await eventually(lambda: first.process.returncode is not None)
