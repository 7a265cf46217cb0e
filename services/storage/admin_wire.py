"""Translates between the model and the messages of StorageAdminService."""

from collections.abc import AsyncIterator

from kawaii.storage.v1 import admin_pb2 as adminpb
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis import names
from services.chassis.errors import InvalidArgument
from services.storage.core.garbage_collection import DEFAULT_AGE
from services.storage.core.object_migration import Step
from services.storage.core.scan_progress import Progress, ScanResult
from services.storage.model import Source, StoredObject, VariantWish
from services.storage.wire import chunks, generation_id, not_negative, shown

STEPS = {
    adminpb.MigrateObjectsRequest.STEP_COPY: Step.COPY,
    adminpb.MigrateObjectsRequest.STEP_DELETE_SOURCE: Step.DELETE_SOURCE,
}


def step(request: adminpb.MigrateObjectsRequest) -> Step:
    """The step of a migration; an unknown one is a dry run."""
    return STEPS.get(request.step, Step.DRY_RUN)


def age(request: adminpb.CollectGarbageRequest) -> float:
    """The least age of garbage, in seconds."""
    return request.min_age.ToTimedelta().total_seconds() if request.HasField("min_age") else DEFAULT_AGE


def wish(request: adminpb.SignVariantRequest) -> VariantWish:
    """The variant that a SignVariant request describes. Raises InvalidArgument."""
    return VariantWish(
        width=not_negative("width", request.width),
        height=not_negative("height", request.height),
        quality=not_negative("quality", request.quality),
        extension=request.format,
    )


def progress_pb(progress: Progress) -> adminpb.HousekeepingProgress:
    """The progress of a scan as the proto has it."""
    return adminpb.HousekeepingProgress(
        total_count=progress.total_count,
        total_bytes=progress.total_bytes,
        done_count=progress.done_count,
        done_bytes=progress.done_bytes,
        changed_count=progress.changed_count,
        changed_bytes=progress.changed_bytes,
        problem_count=progress.problem_count,
        findings=map(finding_pb, progress.findings),
        complete=progress.complete,
    )


def finding_pb(check: ScanResult) -> adminpb.HousekeepingProgress.Finding:
    """One object with its problem; keys of older systems are given unchanged."""
    return adminpb.HousekeepingProgress.Finding(
        name=names.name("objects", check.key),
        problem=adminpb.HousekeepingProgress.Problem.Value(f"PROBLEM_{check.problem}"),
        size_bytes=check.size,
    )


def signed_pb(wanted: VariantWish) -> adminpb.SignVariantResponse:
    """A permitted variant with its signature."""
    return adminpb.SignVariantResponse(quality=wanted.quality, format=wanted.extension, signature=wanted.signature)


async def restored(
    requests: AsyncIterator[adminpb.RestoreObjectRequest],
) -> tuple[StoredObject, AsyncIterator[bytes]]:
    """Read the record, the first message of a stream; the second value yields the bytes. Raises InvalidArgument."""
    async for first in requests:
        if first.WhichOneof("payload") == "object":
            return record(first.object), chunks(requests)
        break
    raise InvalidArgument("The first message must be the object's record.", metadata={"field": "object"})


def record(message: storagepb.Object) -> StoredObject:
    """The row of an exported object. Raises InvalidArgument."""
    if message.source not in Source.__members__.values():
        raise InvalidArgument("source must be one of ours.", metadata={"field": "source"})
    of_generation = message.source == Source.KIE_DOWNLOAD and message.generation_id
    return StoredObject(
        key=names.parse_key(message.name),
        content_type=message.content_type,
        size=not_negative("size_bytes", message.size_bytes),
        sha256=message.sha256,
        source=message.source,
        generation_id=generation_id(message.generation_id) or None,
        index=not_negative("index", message.index) if of_generation else None,
        original_name=shown(message.original_name),
        source_uri=message.source_uri,
        create_ms=message.create_time.ToMilliseconds(),
    )
