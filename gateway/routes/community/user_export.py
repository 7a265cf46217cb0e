"""Exports all of a user's data: one JSON document, or a zip of it with the user's files.

The zip is written while the client reads it: entries are stored as they come, and nothing is held whole.
"""

import io
from collections.abc import AsyncIterator
from typing import Any
from zipfile import ZipFile, ZipInfo

import orjson
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode, aio
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from gateway.routes.community.rendering import hot_level
from services.chassis.names import parse_key

Record = userspb.ExportUserResponse
LOST = (StatusCode.NOT_FOUND, StatusCode.DATA_LOSS)  # the record is gone, or its bytes are
READ_SECONDS = 60.0  # for one file: 30 MiB at 4 Mbit/s


class _Outlet(io.RawIOBase):
    """Takes what the zip writes until it is sent; it cannot seek, so sizes follow their entries."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override] # what ZipFile writes
        """Hold some bytes."""
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """Remove and return what is held."""
        taken = bytes(self._held)
        self._held.clear()
        return taken


class ZipStream:
    """A zip of entries without compression: pictures are compressed already."""

    def __init__(self) -> None:
        self._outlet = _Outlet()
        self._zip = ZipFile(self._outlet, "w")

    async def entry(self, name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The zip's bytes while an entry is written from its chunks."""
        with self._zip.open(ZipInfo(name), "w", force_zip64=True) as entry:
            async for chunk in chunks:
                entry.write(chunk)
                yield self._outlet.take()

    def end(self) -> bytes:
        """The rest of the zip: its directory."""
        self._zip.close()
        return self._outlet.take()


class UserExport:
    """The records of a user as they stream in; the object names of their files are kept for the zip."""

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
        """A zip: records.json, then files/ under their keys; missing.txt names those that are lost, a key a line."""
        written = ZipStream()
        async for piece in written.entry("records.json", self.document()):
            yield piece
        missing: list[str] = []
        for key in map(parse_key, self.files):
            chunks = await _begun(storage, key)
            if chunks is None:
                missing.append(key)
                continue
            async for piece in written.entry(f"files/{key}", chunks):
                yield piece
        if missing:
            async for piece in written.entry("missing.txt", _lines(missing)):
                yield piece
        yield written.end()

    def _rendered(self, record: Record) -> bytes:
        if record.HasField("file"):
            self.files.append(record.file.object)
        shown = MessageToDict(record)
        if record.HasField("artwork"):
            shown["artwork"]["hotLevel"] = hot_level(record.artwork.hot_level)
        return orjson.dumps(shown)


async def _begun(storage: "storagerpc.StorageServiceAsyncStub", key: str) -> AsyncIterator[bytes] | None:
    """A file's bytes once the first have come; None when it is lost.

    Any other failure, also after the first bytes, ends the zip early: half a file must not look whole.
    """
    answer = storage.ReadObject(storagepb.ReadObjectRequest(name=f"objects/{key}"), timeout=READ_SECONDS)
    pieces = aiter(answer)
    try:
        first = await anext(pieces, None)
    except aio.AioRpcError as failure:
        if failure.code() in LOST:
            return None
        raise
    return _chunks(first, pieces)


async def _chunks(
    first: storagepb.ReadObjectResponse | None, rest: AsyncIterator[storagepb.ReadObjectResponse]
) -> AsyncIterator[bytes]:
    if first is not None:
        yield first.chunk
    async for piece in rest:
        yield piece.chunk


async def _lines(keys: list[str]) -> AsyncIterator[bytes]:
    yield "".join(f"{key}\n" for key in keys).encode()
