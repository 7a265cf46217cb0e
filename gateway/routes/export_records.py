"""Writes all records of the stack as one JSON document, a line each, so that it can be read and written piece by piece.

The first line opens it, the last one, `]}`, closes it: a document without that was torn. Each line between is a JSON
object with a `kind` (stack first, then model, generation, object, share) and the fields of that message of the protos,
by their JSON names; a share also has those of its ShareRecord. Generations and objects stand newest first, shares in
the order in which they were stored, which lists show them by. Bytes are not in it, and neither are variants, which can
be made again.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.share.v1 import admin_pb2 as adminpb
from kawaii.storage.v1 import storage_pb2 as storagepb

from gateway.clients.stubs import Clients

VERSION = 1
PAGE, SHARE_PAGE = 200, 100  # records asked for at once: a page of long prompts stays within a message
DERIVED = "variant"


async def document(clients: Clients, origin: str) -> AsyncIterator[bytes]:
    """The document in pieces. The first comes once generation has answered.

    Raises:
        aio.AioRpcError: a service failed; before the first piece, or in the middle of the document.
    """
    models = (await clients.generation.ListModels(generationpb.ListModelsRequest())).models
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = orjson.dumps({"version": VERSION, "exportTime": moment, "records": []}).removesuffix(b"]}")
    stack = orjson.dumps({"kind": "town", "origin": origin})
    yield head + b"\n" + b",\n".join([stack, *(line("model", model) for model in models)])
    async for page in pages(clients):
        yield b"".join(b",\n" + each for each in page)
    yield b"\n]}\n"


def line(kind: str, message: Message) -> bytes:
    """A record."""
    return orjson.dumps({"kind": kind, **MessageToDict(message)})


def share_line(record: adminpb.ShareRecord) -> bytes:
    """A share's record: the share's fields and those beside it, at one level."""
    told = MessageToDict(record)
    return orjson.dumps({"kind": "share", **told.pop("share"), **told})


async def pages(clients: Clients) -> AsyncIterator[list[bytes]]:
    """All records but the models, some at a time."""
    async for page in generations(clients):
        yield page
    async for page in objects(clients):
        yield page
    async for page in shares(clients):
        yield page


async def generations(clients: Clients) -> AsyncIterator[list[bytes]]:
    """Every generation."""
    token: str | None = ""
    while token is not None:
        request = generationpb.ListGenerationsRequest(page_size=PAGE, page_token=token)
        answer = await clients.generation.ListGenerations(request)
        yield [line("generation", each) for each in answer.generations]
        token = answer.next_page_token or None


async def objects(clients: Clients) -> AsyncIterator[list[bytes]]:
    """Every stored original."""
    token: str | None = ""
    while token is not None:
        answer = await clients.storage.ListObjects(storagepb.ListObjectsRequest(page_size=PAGE, page_token=token))
        yield [line("object", each) for each in answer.objects if each.source != DERIVED]
        token = answer.next_page_token or None


async def shares(clients: Clients) -> AsyncIterator[list[bytes]]:
    """Every share, listed or not."""
    token: str | None = ""
    while token is not None:
        request = adminpb.ListShareRecordsRequest(page_size=SHARE_PAGE, page_token=token)
        answer = await clients.share_admin.ListShareRecords(request)
        yield [share_line(each) for each in answer.share_records]
        token = answer.next_page_token or None
