"""What storage answers about a copy, told as generation sees it: ours, gone for good, or later."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis import errors
from services.chassis.channels import plain_channel
from services.chassis.server import Mount
from services.generation.model import Output
from services.generation.outcomes import Copy, Gone, Later
from services.generation.storage_client import StorageClient
from tests.support.ports import free_port
from tests.support.servers import serving

OUTPUT = Output(1, "https://temporary.example/a.png")


class Storage:
    """A storage service that answers what the test says."""

    def __init__(self, answer: storagepb.Object | errors.KawaiiError) -> None:
        self._answer = answer
        self.asked: list[storagepb.ImportObjectRequest] = []

    async def ImportObject(  # noqa: N802 - the proto's name
        self, request: storagepb.ImportObjectRequest, _context: object
    ) -> storagepb.Object:
        self.asked.append(request)
        if isinstance(self._answer, errors.KawaiiError):
            raise self._answer
        return self._answer


def register(storage: Storage, server: aio.Server) -> None:
    """Only the one RPC that generation uses."""
    handler = grpc.unary_unary_rpc_method_handler(
        storage.ImportObject,
        request_deserializer=storagepb.ImportObjectRequest.FromString,
        response_serializer=storagepb.Object.SerializeToString,
    )
    service = storagepb.DESCRIPTOR.services_by_name["StorageService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"ImportObject": handler}),))


@asynccontextmanager
async def client(storage: Storage) -> AsyncIterator[StorageClient]:
    async with serving(Mount(register, storage, storagepb.DESCRIPTOR)) as address, plain_channel(address) as channel:
        yield StorageClient(channel)


async def test_the_file_has_the_name_that_the_output_has() -> None:
    storage = Storage(storagepb.Object(name="objects/generated/5eed.png"))
    async with client(storage) as kept:
        await kept.copy("gen_1", replace(OUTPUT, file_stem="5eed"), "")

    assert storage.asked[0].file_stem == "5eed"


async def test_a_copy_is_ours() -> None:
    storage = Storage(storagepb.Object(name="objects/generated/g/1.png", content_type="image/png", size_bytes=7))
    async with client(storage) as kept:
        answer = await kept.copy("gen_1", OUTPUT, "https://fresh.example/a.png")

    (asked,) = storage.asked
    assert answer == Copy("generated/g/1.png", "image/png", 7)
    assert (asked.source_uri, asked.download_uri) == (OUTPUT.source_uri, "https://fresh.example/a.png")
    assert (asked.generation_id, asked.index) == ("gen_1", 1)


@pytest.mark.parametrize("error", [errors.NotFound("404 there"), errors.InvalidArgument("not a picture")])
async def test_what_is_about_the_picture_is_final(error: errors.KawaiiError) -> None:
    async with client(Storage(error)) as kept:
        assert await kept.copy("gen_1", OUTPUT, "") == Gone(error.message)


@pytest.mark.parametrize(
    "error",
    [
        errors.Unavailable("away"),
        errors.ResourceExhausted("full"),
        errors.Internal("oops"),
        errors.DeadlineExceeded("slow"),
        errors.Aborted("race"),
        errors.DataLoss("torn"),
    ],
)
async def test_all_else_passes_with_time(error: errors.KawaiiError) -> None:
    async with client(Storage(error)) as kept:
        assert isinstance(await kept.copy("gen_1", OUTPUT, ""), Later)


async def test_a_storage_that_is_down_passes_with_time() -> None:
    async with plain_channel(f"127.0.0.1:{free_port()}") as channel:
        assert isinstance(await StorageClient(channel).copy("gen_1", OUTPUT, ""), Later)
