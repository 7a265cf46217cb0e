"""Writes down everything of a person: one JSON document, or a zip of it with their files."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import orjson
from google.protobuf.json_format import MessageToDict
from grpc import aio
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from gateway.archive import Archive
from services.chassis.names import parse_key

Record = userspb.ExportUserResponse
READ_SECONDS = 60.0  # for one file: 30 MiB at 4 Mbit/s


class Takeout:
    """A person's records as they stream in; the files they name are remembered by their object names."""

    def __init__(self, first: Record, rest: Any) -> None:
        self.files: list[str] = []
        self._first, self._rest = first, rest

    async def document(self) -> AsyncIterator[bytes]:
        """The JSON document, a record at a time."""
        yield b'{"success":true,"data":{"records":[' + self._rendered(self._first)
        async for record in self._rest:
            yield b"," + self._rendered(record)
        yield b"]}}"

    async def archive(self, storage: "storagerpc.StorageServiceAsyncStub") -> AsyncIterator[bytes]:
        """A zip: records.json, then files/ under their keys. A file that is gone by now is left out."""
        written = Archive()
        async for piece in written.entry("records.json", self.document()):
            yield piece
        for name in self.files:
            async for piece in written.entry(f"files/{parse_key(name)}", _bytes_of(storage, name)):
                yield piece
        yield written.end()

    def _rendered(self, record: Record) -> bytes:
        if record.HasField("file"):
            self.files.append(record.file.object)
        return orjson.dumps(MessageToDict(record))


async def _bytes_of(storage: "storagerpc.StorageServiceAsyncStub", name: str) -> AsyncIterator[bytes]:
    """A file's bytes; none when it is gone. Any other failure tears the zip, since half a file must not look whole."""
    try:
        async for piece in storage.ReadObject(storagepb.ReadObjectRequest(name=name), timeout=READ_SECONDS):
            yield piece.chunk
    except aio.AioRpcError as failure:
        if failure.code() is not grpc.StatusCode.NOT_FOUND:
            raise
