"""Translates between the model and the messages of kawaii.storage.v1, checking shapes on the way in."""

import re
from collections.abc import AsyncIterator

from kawaii.storage.v1 import admin_pb2 as storageadminpb
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis import names
from services.chassis.errors import InvalidArgument, invalid_field
from services.chassis.protobuf import checked_milliseconds, timestamp
from services.chassis.text import cut, one_line
from services.storage.core.garbage_collection import DEFAULT_AGE
from services.storage.core.object_migration import Step
from services.storage.core.scan import Progress, ScanResult
from services.storage.model import Filter, ImportOrder, Source, StoredObject, UploadLink, UploadSpec, VariantWish

MAX_NAME_LENGTH = 255  # of a client's file name, as file systems have it; the rest is cut off
MAX_URI_LENGTH = 8192  # what servers accept of a URL
Payload = storagepb.UploadObjectRequest | storageadminpb.RestoreObjectRequest
FILE_STEM = re.compile(r"[A-Za-z0-9]{1,64}")
PREFIX = re.compile(r"[A-Za-z0-9_./-]{0,512}")
SOURCES = {source: storagepb.Object.Source.Value(f"SOURCE_{source.name}") for source in Source}
STEPS = {
    storageadminpb.MigrateObjectsRequest.STEP_COPY: Step.COPY,
    storageadminpb.MigrateObjectsRequest.STEP_DELETE_SOURCE: Step.DELETE_SOURCE,
}


async def upload(
    requests: AsyncIterator[storagepb.UploadObjectRequest],
) -> tuple[UploadSpec, AsyncIterator[bytes]]:
    """Read the spec, the first message of a stream; the second value yields the bytes.

    Raises:
        InvalidArgument: the first message is no spec; or, when the bytes are read, a later one is neither bytes nor the
            end, or the stream is torn (reason UPLOAD_INCOMPLETE).
    """
    async for first in requests:
        if first.WhichOneof("payload") == "spec":
            return _spec(first.spec), _chunks(requests)
        break
    raise invalid_field("spec", "The first message must be the spec.")


def _spec(spec: storagepb.UploadObjectRequest.UploadSpec) -> UploadSpec:
    limit = _not_negative("max_size_bytes", spec.max_size_bytes)
    return UploadSpec(spec.prefix, shown(spec.original_name), limit, _generation_id(spec.generation_id))


async def _chunks(requests: AsyncIterator[Payload]) -> AsyncIterator[bytes]:
    """The bytes that follow a stream's first message, up to the message `complete`."""
    async for request in requests:
        match request.WhichOneof("payload"):
            case "chunk":
                yield request.chunk
            case "complete":
                return
            case _:
                raise invalid_field("chunk", "After the first message come bytes only.")
    raise InvalidArgument("The upload broke off before it was complete. Send it again.", "UPLOAD_INCOMPLETE")


def order(request: storagepb.ImportObjectRequest) -> ImportOrder:
    """The import order of a request. Raises InvalidArgument."""
    return ImportOrder(
        source_uri=uri("source_uri", request.source_uri),
        generation_id=_generation_id(request.generation_id),
        index=_not_negative("index", request.index),
        file_name=shown(request.file_name),
        download_uri=uri("download_uri", request.download_uri) if request.download_uri else "",
        task_id=_generation_id(request.task_id, "task_id"),
        file_stem=_file_stem(request.file_stem),
    )


def wanted(request: storagepb.ListObjectsRequest) -> Filter:
    """The filter of a list request. Raises InvalidArgument."""
    if not PREFIX.fullmatch(request.prefix):
        raise invalid_field("prefix", "prefix must be the beginning of an object key.")
    return Filter(request.prefix, _generation_id(request.generation_id))


def wish(request: storagepb.CreateVariantRequest) -> VariantWish:
    """The variant that a request asks for. Raises InvalidArgument."""
    return VariantWish(
        width=_not_negative("width", request.width),
        height=_not_negative("height", request.height),
        quality=_not_negative("quality", request.quality),
        extension=request.format,
        signature=request.signature,
    )


def _generation_id(text: str, field: str = "generation_id") -> str:
    """An id of a generation or task, or an empty text; its form makes it safe in a key."""
    if text and not names.ID.fullmatch(text):
        raise invalid_field(field, f"{field} is not an id.")
    return text


def _file_stem(text: str) -> str:
    """The file name of a generation's picture without its extension, or an empty text."""
    if text and not FILE_STEM.fullmatch(text):
        raise invalid_field("file_stem", "file_stem is not a name of letters and digits.")
    return text


def uri(field: str, text: str) -> str:
    """A URL of reasonable length; the fetcher vets its host."""
    if not text or len(text) > MAX_URI_LENGTH or not text.isprintable():
        sentence = f"{field} must be a URL of at most {MAX_URI_LENGTH} characters."
        raise invalid_field(field, sentence)
    return text


def shown(text: str) -> str:
    """A client's file name for display: on one line, cut to a readable length."""
    return cut(one_line(text), MAX_NAME_LENGTH)


def _not_negative(field: str, number: int) -> int:
    """A number that is not negative. Raises InvalidArgument."""
    if number < 0:
        raise invalid_field(field, f"{field} must not be negative.")
    return number


def to_pb(found: StoredObject, public_uri: str) -> storagepb.Object:
    """An object as the proto has it."""
    return storagepb.Object(
        name=names.name("objects", found.key),
        uri=public_uri,
        content_type=found.content_type,
        size_bytes=found.size,
        sha256=found.sha256,
        generation_id=found.generation_id or "",
        index=found.index or 0,
        original_name=found.original_name,
        source_uri=found.source_uri,
        source=SOURCES[Source(found.source)],
        create_time=timestamp(found.create_ms),
        width=found.width,
        height=found.height,
        thumb_hash=found.thumb_hash,
    )


def link_to_pb(link: UploadLink, put_uri: str) -> storagepb.UploadLink:
    """An upload link as the proto has it."""
    return storagepb.UploadLink(
        object=names.name("objects", link.key),
        uri=put_uri,
        headers={"Content-Type": link.content_type},
        expire_time=timestamp(link.expire_ms),
    )


def step(request: storageadminpb.MigrateObjectsRequest) -> Step:
    """The step of a migration; an unknown one is a dry run."""
    return STEPS.get(request.step, Step.DRY_RUN)


def age(request: storageadminpb.CollectGarbageRequest) -> float:
    """The least age of garbage, in seconds."""
    return request.min_age.ToTimedelta().total_seconds() if request.HasField("min_age") else DEFAULT_AGE


def wish_to_sign(request: storageadminpb.SignVariantRequest) -> VariantWish:
    """The variant that a SignVariant request describes. Raises InvalidArgument."""
    return VariantWish(
        width=_not_negative("width", request.width),
        height=_not_negative("height", request.height),
        quality=_not_negative("quality", request.quality),
        extension=request.format,
    )


def progress_pb(progress: Progress) -> storageadminpb.HousekeepingProgress:
    """The progress of a scan as the proto has it."""
    return storageadminpb.HousekeepingProgress(
        total_count=progress.total_count,
        total_bytes=progress.total_bytes,
        done_count=progress.done_count,
        done_bytes=progress.done_bytes,
        changed_count=progress.changed_count,
        changed_bytes=progress.changed_bytes,
        problem_count=progress.problem_count,
        findings=map(_finding_pb, progress.findings),
        complete=progress.complete,
    )


def _finding_pb(check: ScanResult) -> storageadminpb.HousekeepingProgress.Finding:
    """One object with its problem; keys of older systems are given unchanged."""
    return storageadminpb.HousekeepingProgress.Finding(
        name=names.name("objects", check.key),
        problem=storageadminpb.HousekeepingProgress.Problem.Value(f"PROBLEM_{check.problem}"),
        size_bytes=check.size,
    )


def signed_pb(wanted: VariantWish) -> storageadminpb.SignVariantResponse:
    """A permitted variant with its signature."""
    return storageadminpb.SignVariantResponse(
        quality=wanted.quality, format=wanted.extension, signature=wanted.signature
    )


async def restored(
    requests: AsyncIterator[storageadminpb.RestoreObjectRequest],
) -> tuple[StoredObject, AsyncIterator[bytes]]:
    """Read the record, the first message of a stream; the second value yields the bytes. Raises InvalidArgument."""
    async for first in requests:
        if first.WhichOneof("payload") == "object":
            return _record(first.object), _chunks(requests)
        break
    raise invalid_field("object", "The first message must be the object's record.")


def _record(message: storagepb.Object) -> StoredObject:
    """The row of an exported object. Raises InvalidArgument."""
    source = next((source for source, number in SOURCES.items() if number == message.source), None)
    if source is None:
        raise invalid_field("source", "source must be one of ours.")
    of_generation = source is Source.KIE_DOWNLOAD and message.generation_id
    return StoredObject(
        key=names.parse_key(message.name),
        content_type=message.content_type,
        size=_not_negative("size_bytes", message.size_bytes),
        sha256=message.sha256,
        source=source,
        generation_id=_generation_id(message.generation_id) or None,
        index=_not_negative("index", message.index) if of_generation else None,
        original_name=shown(message.original_name),
        source_uri=message.source_uri,
        create_ms=checked_milliseconds("create_time", message.create_time),
    )
