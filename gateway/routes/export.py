"""Exports all records of the stack as one JSON document (S4), by a route and for `kawaii export`; off by default.

A record is a line, so that the document can be read and written piece by piece. The first line opens it, the last one,
`]}`, closes it: a document without that was torn. Each line between is a JSON object with a `kind` (first "town", which
is the stack, then model, generation, object, share) and the fields of that message of the protos, by their JSON names;
a share also has those of its ShareRecord. Generations and objects stand newest first, shares in the order in which they
were stored, which lists show them by. Bytes are not in it, and neither are variants, which can be made again.
"""

import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.clients import stubs
from gateway.clients.stubs import Clients
from gateway.rest.responses import NO_STORE, Json, route
from services.chassis.errors import NotFound, PermissionDenied

OFF = "The export is switched off. The operator can turn it on with EXPORT_TOKEN."
WRONG = "The export needs the operator's token: send it as `Authorization: Bearer …`."
SCHEME = "bearer "
HEADERS = {**NO_STORE, "Content-Disposition": 'attachment; filename="kawaii-records.json"'}

VERSION = 1
PAGE, SHARE_PAGE = 200, 100  # records asked for at once: a page of long prompts stays within a message
SOURCE_PREFIX = "SOURCE_"


async def export(request: Request) -> Response:
    """GET /api/export: one JSON document with all records.

    Raises:
        NotFound: there is no EXPORT_TOKEN.
        PermissionDenied: the request does not carry it.
    """
    settings = request.app.state.settings
    _permit(request.headers.get("authorization", ""), settings.export_token.get_secret_value())
    if request.method == "HEAD":
        return Response(headers=HEADERS, media_type=Json.media_type)
    pieces = document(stubs.of(request), settings.origin)
    first = await anext(pieces)
    return StreamingResponse(_following(first, pieces), headers=HEADERS, media_type=Json.media_type)


def _permit(given: str, token: str) -> None:
    """Compare what a request carries with the token, in the same time whatever it is."""
    if not token:
        raise NotFound(OFF)
    bearer = given[len(SCHEME) :] if given.lower().startswith(SCHEME) else ""
    if not hmac.compare_digest(bearer.encode(), token.encode()):
        raise PermissionDenied(WRONG)


async def _following(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The first piece, then the rest."""
    yield first
    async for piece in rest:
        yield piece


async def document(clients: Clients, origin: str) -> AsyncIterator[bytes]:
    """The document in pieces. The first comes once generation has answered.

    Raises:
        aio.AioRpcError: a service failed; before the first piece, or in the middle of the document.
    """
    models = (await clients.generation.ListModels(generationpb.ListModelsRequest())).models
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = orjson.dumps({"version": VERSION, "exportTime": moment, "records": []}).removesuffix(b"]}")
    stack = orjson.dumps({"kind": "town", "origin": origin})
    yield head + b"\n" + b",\n".join([stack, *(_line("model", model) for model in models)])
    async for page in _pages(clients):
        yield b"".join(b",\n" + each for each in page)
    yield b"\n]}\n"


def _line(kind: str, message: Message) -> bytes:
    """A record."""
    return orjson.dumps({"kind": kind, **MessageToDict(message)})


def _object_line(stored: storagepb.Object) -> bytes:
    """An object's record; its source is a word, as exports have always had it."""
    sources = storagepb.Object.Source
    known = stored.source if stored.source in sources.values() else storagepb.Object.SOURCE_UNSPECIFIED
    word = sources.Name(known).removeprefix(SOURCE_PREFIX).lower().replace("_", "-")
    return orjson.dumps({"kind": "object", **MessageToDict(stored), "source": word})


def _share_line(record: shareadminpb.ShareRecord) -> bytes:
    """A share's record: the share's fields and those beside it, at one level."""
    fields = MessageToDict(record)
    return orjson.dumps({"kind": "share", **fields.pop("share"), **fields})


async def _pages(clients: Clients) -> AsyncIterator[list[bytes]]:
    """All records but the models, some at a time."""
    async for page in _generations(clients):
        yield page
    async for page in _objects(clients):
        yield page
    async for page in _shares(clients):
        yield page


async def _generations(clients: Clients) -> AsyncIterator[list[bytes]]:
    """Every generation."""
    token: str | None = ""
    while token is not None:
        request = generationpb.ListGenerationsRequest(page_size=PAGE, page_token=token)
        answer = await clients.generation.ListGenerations(request)
        yield [_line("generation", each) for each in answer.generations]
        token = answer.next_page_token or None


async def _objects(clients: Clients) -> AsyncIterator[list[bytes]]:
    """Every stored original."""
    token: str | None = ""
    while token is not None:
        answer = await clients.storage.ListObjects(storagepb.ListObjectsRequest(page_size=PAGE, page_token=token))
        yield [_object_line(each) for each in answer.objects if each.source != storagepb.Object.SOURCE_VARIANT]
        token = answer.next_page_token or None


async def _shares(clients: Clients) -> AsyncIterator[list[bytes]]:
    """Every share, listed or not."""
    token: str | None = ""
    while token is not None:
        request = shareadminpb.ListShareRecordsRequest(page_size=SHARE_PAGE, page_token=token)
        answer = await clients.share_admin.ListShareRecords(request)
        yield [_share_line(each) for each in answer.share_records]
        token = answer.next_page_token or None


ROUTES = [route("/api/export", GET=export)]
