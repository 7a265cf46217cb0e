"""What the service says and does while its bucket is away, as a process; and what it gives up for buckets: nothing."""

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis import status
from services.chassis.addresses import ListenPort
from services.chassis.migrations import migrate
from services.storage.settings import StorageSettings
from tests.chaos.proxy import ToxicProxy
from tests.storage.buckets import in_bucket
from tests.storage.processes import REPOSITORY, connected, parts, running
from tests.storage.samples import PATIENCE_SECONDS, picture
from tests.support.ports import free_base
from tests.support.s3 import S3Server

SERVING = health_pb2.HealthCheckResponse.SERVING
MIB = 1024 * 1024


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[ToxicProxy]:
    proxy = ToxicProxy(s3_server.port, "", {})
    await proxy.up()
    yield proxy
    await proxy.close()


@pytest.fixture
def stack(settings: StorageSettings, s3_server: S3Server, proxy: ToxicProxy) -> StorageSettings:
    more = {"storage_s3_endpoint": f"http://127.0.0.1:{proxy.port}", "internal_port_base": free_base()}
    stack = in_bucket(settings, s3_server, storage_s3_attempts=1, **more)
    migrate("storage", stack)
    return stack


async def is_serving(stack: StorageSettings, part: str, wanted: bool) -> bool:  # noqa: FBT001 - it is what is asked
    """Follow the health of a part until it is as wanted."""
    async with aio.insecure_channel(stack.address(ListenPort.STORAGE)) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=part), timeout=PATIENCE_SECONDS
        )
        async for answer in watch:
            if (answer.status == SERVING) == wanted:
                return True
    return False


async def read(stack: StorageSettings, name: str) -> httpx.Response:
    path = name.removeprefix("objects/")
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://{stack.address(ListenPort.FILES)}/files/{path}")


async def refused(stub: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as failure:
        await stub.UploadObject(parts(picture()))
    return failure.value.code(), status.from_rpc(failure.value).reason


async def test_a_bucket_that_is_away_is_an_error_and_accepted_files_come_back_with_it(
    stack: StorageSettings, proxy: ToxicProxy
) -> None:
    async with running(stack), connected(stack) as stub:
        found = await stub.UploadObject(parts(picture()))
        assert await is_serving(stack, "bytes", wanted=True)
        await proxy.close()

        assert await refused(stub) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_DOWN")
        answer = await read(stack, found.name)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "STORAGE_DOWN", "1")
        assert (await stub.ListObjects(storagepb.ListObjectsRequest())).objects == [found]
        assert await is_serving(stack, "", wanted=True)

        await proxy.up()
        assert (await read(stack, found.name)).content == picture()
        assert await stub.UploadObject(parts(picture(seed="after")))


async def test_health_reports_the_bucket_and_the_service_goes_on(stack: StorageSettings, proxy: ToxicProxy) -> None:
    await proxy.close()
    async with running(stack):
        assert await is_serving(stack, "", wanted=True)
        assert await is_serving(stack, "bytes", wanted=False)
        await proxy.up()
        assert await is_serving(stack, "bytes", wanted=True)


async def test_a_second_backend_takes_uploads_while_the_bucket_is_away(
    stack: StorageSettings, proxy: ToxicProxy
) -> None:
    stack = stack.model_copy(update={"storage_second_mode": "local"})
    await proxy.close()
    async with running(stack), connected(stack) as stub:
        found = await stub.UploadObject(parts(picture()))

        assert (await read(stack, found.name)).content == picture()
        assert (stack.objects_dir / "guests" / found.name.removeprefix("objects/")).is_file()


def test_a_stack_without_a_bucket_does_not_load_the_client_for_it() -> None:
    """boto3 would cost every idle storage service thirty megabytes."""
    look = "import sys; import services.storage.backends; print([name for name in sys.modules if 'boto' in name])"
    result = subprocess.run([sys.executable, "-c", look], cwd=REPOSITORY, check=True, capture_output=True, text=True)

    assert result.stdout == "[]\n"
