"""A person's zip holds what there is, and names what is lost."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import orjson
import pytest
from grpc import aio
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from gateway.routes.community.user_export import UserExport
from services.chassis.errors import DataLoss, KawaiiError, NotFound, Unavailable
from services.chassis.server import Mount
from tests.support.servers import serving

Record = userspb.ExportUserResponse


class Storage(storagerpc.StorageServiceServicer):
    """Holds every file but two: of one the record is gone, of the other the bytes."""

    def __init__(self) -> None:
        self.failures: dict[str, KawaiiError] = {
            "objects/a/gone.png": NotFound("There is no such object."),
            "objects/a/lost.png": DataLoss("The file of this object is gone."),
        }

    async def ReadObject(  # noqa: N802 - the proto's name
        self, request: Any, context: Any
    ) -> AsyncIterator[storagepb.ReadObjectResponse]:
        del context
        if failure := self.failures.get(request.name):
            raise failure
        for chunk in (b"bytes of ", request.name.encode()):
            yield storagepb.ReadObjectResponse(chunk=chunk)


async def taken(storage: Storage, *names: str) -> ZipFile:
    mount = Mount(storagerpc.add_StorageServiceServicer_to_server, storage, storagepb.DESCRIPTOR)

    async def rest() -> AsyncIterator[Record]:
        for name in names:
            yield Record(file=Record.File(object=f"objects/{name}"))

    async with serving(mount) as address, aio.insecure_channel(address) as channel:
        takeout = UserExport(Record(user=userspb.User(user_id="ann")), rest())
        pieces = [piece async for piece in takeout.archive(storagerpc.StorageServiceStub(channel))]
    return ZipFile(BytesIO(b"".join(pieces)))


async def test_lost_files_are_named_and_the_others_are_there() -> None:
    found = await taken(Storage(), "a/1.png", "a/lost.png", "a/gone.png", "a/2.png")

    assert found.namelist() == ["records.json", "files/a/1.png", "files/a/2.png", "missing.txt"]
    assert found.read("files/a/2.png") == b"bytes of objects/a/2.png"
    assert found.read("missing.txt") == b"a/lost.png\na/gone.png\n"


async def test_a_zip_without_losses_names_none() -> None:
    assert (await taken(Storage(), "a/1.png")).namelist() == ["records.json", "files/a/1.png"]


async def test_a_storage_that_is_away_tears_the_zip() -> None:
    storage = Storage()
    storage.failures["objects/a/1.png"] = Unavailable("Away.")

    with pytest.raises(aio.AioRpcError):
        await taken(storage, "a/1.png")


async def test_the_level_of_hotness_is_a_word_and_not_the_name_of_an_enum() -> None:
    async def rest() -> AsyncIterator[Record]:
        artwork = artworkspb.Artwork(name="artworks/art_1", hot_level=artworkspb.HOT_LEVEL_RISING)
        yield Record(artwork=artwork)

    export = UserExport(Record(user=userspb.User(user_id="ann")), rest())
    document = orjson.loads(b"".join([piece async for piece in export.document()]))

    assert document["data"]["records"][1]["artwork"]["hotLevel"] == "rising"
