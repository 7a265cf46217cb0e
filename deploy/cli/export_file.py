"""Writes and reads the file of `kawaii export`: gateway/routes/export.py describes it."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import click
from google.protobuf.json_format import ParseDict, ParseError
from grpc import StatusCode, aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.storage.v1 import admin_pb2 as storageadminpb
from kawaii.storage.v1 import admin_pb2_grpc as storageadminrpc
from kawaii.storage.v1 import storage_pb2 as storagepb

from deploy.cli import rpc
from gateway.clients.stubs import Clients, found, open_clients
from gateway.routes.export import document
from services.chassis.channels import connect
from services.chassis.errors import InvalidArgument, KawaiiError
from services.chassis.names import parse_key
from services.chassis.settings import CommonSettings
from services.chassis.status import from_rpc

REFUSED = (StatusCode.INVALID_ARGUMENT, StatusCode.ALREADY_EXISTS)  # about this record alone; all else ends the import
LOST = (StatusCode.NOT_FOUND, StatusCode.DATA_LOSS)  # an object that is gone stops no export: it is listed
CHUNK_BYTES = 256 * 1024  # what gRPC carries best (docs/storage.md#chunks)
FILE_SECONDS = 120.0  # thirty megabytes, a look at the picture, and the way to the bucket
END = "]}"
KINDS = ("objects", "generations", "shares")
BESIDE = ("generatedObject", "originalObject", "tokenDigest")  # fields of ShareRecord that are no share's
Record = dict[str, Any]
Counts = dict[str, Any]
Request = storageadminpb.RestoreObjectRequest


def exported(file: Path, folder: Path | None) -> Counts:
    """Write everything; the file appears when it is whole."""
    return asyncio.run(_asked(lambda clients: _export(clients, file, folder)))


def imported(file: Path, folder: Path | None) -> Counts:
    """Take everything in."""
    return asyncio.run(_asked(lambda clients: Import(clients, folder).run(file)))


async def _asked(work: Callable[[Clients], Awaitable[Counts]]) -> Counts:
    rpc.where("ListGenerations")  # tells what is wrong with the settings
    settings = CommonSettings()
    async with open_clients(settings) as clients:
        try:
            return await work(clients)
        except OSError as error:
            raise click.ClickException(
                f"{error.filename}: {error.strerror}. Name a place that exists and is yours."
            ) from None
        except aio.AioRpcError as failure:
            address = settings.target("generation")
            raise click.ClickException(rpc.sentence(failure, address)) from None


async def _export(clients: Clients, file: Path, folder: Path | None) -> Counts:
    with drafted(file) as opened:
        os.fchmod(opened.fileno(), 0o600)  # it holds what people wrote
        async for piece in document(clients, CommonSettings().origin):
            opened.write(piece)
    written, missing = 0, list[str]()
    for _, record in records(file, "object") if folder else ():
        try:
            await _fetched(clients, folder / parse_key(record["name"]) if folder else file, record)
            written += 1
        except aio.AioRpcError as failure:
            if failure.code() not in LOST:
                raise
            missing.append(f"{record['name']}: {from_rpc(failure).message}")
        except DamagedError as damaged:
            missing.append(str(damaged))
    return {"file": str(file), "objects": written, "missing": missing}


class DamagedError(Exception):
    """The bytes of an object are not those of its record."""


async def _fetched(clients: Clients, path: Path, record: Record) -> None:
    """Write an object's bytes, unless they are here. Raises DamagedError, and AioRpcError when they are lost."""
    if digest_of(path) == record["sha256"]:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with drafted(path) as opened:
        async for piece in clients.storage.ReadObject(storagepb.ReadObjectRequest(name=record["name"])):
            opened.write(piece.chunk)
            digest.update(piece.chunk)
        if digest.hexdigest() != record["sha256"]:
            raise DamagedError(f"{record['name']} is damaged. Look with `kawaii storage verify --hash`.")


@contextmanager
def drafted(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at the path when it is whole; a failure leaves nothing behind, nor harms an older one."""
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("wb") as opened:
            yield opened
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def said(error: KawaiiError) -> str:
    """What a service says of a record, with the field at fault."""
    return f"{error.message} (field {field})" if (field := error.metadata.get("field")) else error.message


def records(file: Path, kind: str) -> Iterator[tuple[str, Record]]:
    """The records of a kind, one line at a time, each with where it stands.

    Raises:
        click.ClickException: the file is none of ours, or torn.
    """
    with file.open(encoding="utf-8", errors="replace") as lines:
        if not next(lines, "").startswith('{"version":1,'):
            raise click.ClickException(f"{file} was not written by `kawaii export`.")
        last = ""
        for number, last in enumerate(lines, 2):
            if last.startswith(f'{{"kind":"{kind}"'):
                where = f"{file}, line {number}"
                yield where, record_of(last.rstrip().removesuffix(","), where)
    if last.strip() != END:
        raise click.ClickException(f"{file} is torn: its end is missing. Export it anew.")


def record_of(text: str, where: str) -> Record:
    """The record of a line. Raises ClickException for one that is none: what follows cannot be trusted either."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise click.ClickException(
            f"{where}: this is no record. Export it anew; what came before is taken in."
        ) from None
    if not isinstance(record.get("name"), str):
        raise click.ClickException(f"{where}: the record has no name. Export it anew; what came before is taken in.")
    return dict(record)


def digest_of(path: Path) -> str:
    """SHA-256 in hex of a file; empty when there is none."""
    with suppress(FileNotFoundError), path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
    return ""


class Import:
    """One import: what was taken in, was known, was refused, and the objects whose bytes are not at hand."""

    def __init__(self, clients: Clients, folder: Path | None) -> None:
        self._clients = clients
        self._folder = folder
        self._counts: Counts = {kind: {"created": 0, "known": 0} for kind in KINDS}
        self._counts |= {"refused": [], "without_bytes": 0}

    async def run(self, file: Path) -> Counts:
        """Take in the objects first, so that generations can name them."""
        async with connect(CommonSettings(), "storage") as channel:
            storage = storageadminrpc.StorageAdminServiceStub(channel)
            for where, record in records(file, "object"):
                await self._counted("objects", where, record, self._object(storage, record))
        for where, record in records(file, "generation"):
            await self._counted("generations", where, record, self._generation(record))
        for where, record in records(file, "share"):
            await self._counted("shares", where, record, self._share(record))
        return self._counts

    async def _counted(self, kind: str, where: str, record: Record, work: Awaitable[bool | None]) -> None:
        try:
            created = await work
        except aio.AioRpcError as failure:
            if failure.code() not in REFUSED:
                raise
            self._counts["refused"].append(f"{where}: {record['name']}: {said(from_rpc(failure))}")
            return
        except (ParseError, InvalidArgument) as error:  # a field of another kind, or a name that is none
            sentence = f"{where}: {record['name']}: the record is not of the form that was exported: {error}"
            self._counts["refused"].append(sentence)
            return
        if created is None:
            self._counts["without_bytes"] += 1
        else:
            self._counts[kind]["created" if created else "known"] += 1

    async def _object(self, storage: Any, record: Record) -> bool | None:
        """Whether an object was taken in; None when its bytes are not at hand."""
        message = ParseDict(object_fields(record), storagepb.Object(), ignore_unknown_fields=True)
        here = await self._here(message.name)
        if here and here.sha256 == message.sha256:
            return False
        path = self._folder / parse_key(message.name) if self._folder else None
        if path is None or not path.is_file():
            return None
        await storage.RestoreObject(parts(message, path), timeout=FILE_SECONDS)
        return True

    async def _generation(self, record: Record) -> bool:
        message = ParseDict(fields(record), generationpb.Generation(), ignore_unknown_fields=True)
        for output in message.outputs:
            if output.object and not await self._here(output.object):
                output.source_uri, output.object = output.uri or output.source_uri, ""
        request = generationadminpb.RestoreGenerationRequest(generation=message)
        return (await self._clients.admin.RestoreGeneration(request)).created

    async def _share(self, record: Record) -> bool:
        beside = {name: record.pop(name) for name in BESIDE if name in record}
        share = ParseDict(fields(record), sharepb.Share(), ignore_unknown_fields=True)
        message = ParseDict(beside, shareadminpb.ShareRecord(share=share))
        request = shareadminpb.RestoreShareRequest(share_record=message)
        return (await self._clients.share_admin.RestoreShare(request)).created

    async def _here(self, name: str) -> storagepb.Object | None:
        return await found(self._clients.storage.GetObject(storagepb.GetObjectRequest(name=name)))


def fields(record: Record) -> Record:
    """A record as the message's JSON form has it."""
    return {name: value for name, value in record.items() if name != "kind"}


def object_fields(record: Record) -> Record:
    """An object's record as the message's JSON form has it, which names the source by its enum."""
    word = str(record.get("source", ""))
    return {**fields(record), "source": f"SOURCE_{word.upper().replace('-', '_')}"}


async def parts(message: storagepb.Object, path: Path) -> AsyncIterator[Request]:
    """A record, its bytes, and the word that it is complete."""
    yield Request(object=message)
    with path.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            yield Request(chunk=chunk)
    yield Request(complete=True)
