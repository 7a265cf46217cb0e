"""The storage service as a process of its own, and how to talk to it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.addresses import ListenPort
from services.storage.settings import StorageSettings
from tests.storage.buckets import environment_of
from tests.storage.samples import PATIENCE_SECONDS

Request = storagepb.UploadObjectRequest
REPOSITORY = Path(__file__).parents[2]


@asynccontextmanager
async def running(stack: StorageSettings, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, serving."""
    environment = environment_of(stack) | {"INTERNAL_PORT_BASE": str(stack.internal_port_base)} | more
    command = (sys.executable, "-m", "services.storage")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=pipe, cwd=REPOSITORY)
    assert process.stderr
    async with asyncio.timeout(PATIENCE_SECONDS):
        while b"serving" not in await process.stderr.readline():
            assert not process.stderr.at_eof()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def refused(stack: StorageSettings, **more: str) -> tuple[int, str]:
    """The exit code of a process that does not start, and what it says."""
    environment = environment_of(stack) | {"INTERNAL_PORT_BASE": str(stack.internal_port_base)} | more
    command = (sys.executable, "-m", "services.storage")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=pipe, cwd=REPOSITORY)
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@asynccontextmanager
async def connected(stack: StorageSettings) -> AsyncIterator[Any]:
    async with aio.insecure_channel(stack.address(ListenPort.STORAGE)) as channel:
        yield storagerpc.StorageServiceStub(channel)


async def parts(body: bytes, size: int = 256 * 1024) -> AsyncIterator[Request]:
    yield Request(spec=Request.UploadSpec(prefix="generated"))
    for backend_settings in range(0, len(body), size):
        yield Request(chunk=body[backend_settings : backend_settings + size])
    yield Request(complete=True)
