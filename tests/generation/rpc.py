"""The service's skin over a harness: a real server with the real interceptors, and a client of it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.channels import plain_channel
from services.chassis.errors import KawaiiError
from services.chassis.public_files import PublicFiles
from services.chassis.server import Mount
from services.chassis.status import from_rpc
from services.generation.servicer import GenerationServicer
from tests.generation.harness import Harness
from tests.support.servers import serving

FILES = PublicFiles("https://files.example/files")


@asynccontextmanager
async def served(harness: Harness) -> AsyncIterator["generationrpc.GenerationServiceAsyncStub"]:
    """A client of the harness's service."""
    servicer = GenerationServicer(harness.generations, harness.receiver, harness.links, FILES)
    register = generationrpc.add_GenerationServiceServicer_to_server
    async with (
        serving(Mount(register, servicer, generationpb.DESCRIPTOR)) as address,
        plain_channel(address) as channel,
    ):
        yield generationrpc.GenerationServiceStub(channel)


@contextmanager
def refused(kind: type[KawaiiError], reason: str, field: str = "") -> Iterator[None]:
    """Expects a call to end with this error, reason and field."""
    with pytest.raises(aio.AioRpcError) as caught:
        yield
    error = from_rpc(caught.value)
    assert (type(error), error.reason, error.metadata.get("field", "")) == (kind, reason, field)
