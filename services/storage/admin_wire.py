"""Between the core and the operators' messages of kawaii.storage.v1: beside wire.py, for a service of its own."""

from kawaii.storage.v1 import admin_pb2 as adminpb

from services.chassis import names
from services.storage.core.garbage import DEFAULT_AGE
from services.storage.core.migration import Step
from services.storage.core.tally import Look, Progress
from services.storage.model import VariantWish
from services.storage.wire import not_negative

STEPS = {
    adminpb.MigrateObjectsRequest.STEP_COPY: Step.COPY,
    adminpb.MigrateObjectsRequest.STEP_DELETE_SOURCE: Step.DELETE_SOURCE,
}


def step(request: adminpb.MigrateObjectsRequest) -> Step:
    """The step of a move; what is not named does no harm."""
    return STEPS.get(request.step, Step.DRY_RUN)


def age(request: adminpb.CollectGarbageRequest) -> float:
    """How old garbage must be, in seconds."""
    return request.min_age.ToTimedelta().total_seconds() if request.HasField("min_age") else DEFAULT_AGE


def wish(request: adminpb.SignVariantRequest) -> VariantWish:
    """Which variant to permit."""
    return VariantWish(
        width=not_negative("width", request.width),
        height=not_negative("height", request.height),
        quality=not_negative("quality", request.quality),
        extension=request.format,
    )


def progress_pb(progress: Progress) -> adminpb.HousekeepingProgress:
    """How far a walk is."""
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


def finding_pb(look: Look) -> adminpb.HousekeepingProgress.Finding:
    """One object and what is wrong with it; old keys are named as they are."""
    return adminpb.HousekeepingProgress.Finding(
        name=names.name("objects", look.key),
        problem=adminpb.HousekeepingProgress.Problem.Value(f"PROBLEM_{look.problem}"),
        size_bytes=look.size,
    )


def signed_pb(wanted: VariantWish) -> adminpb.SignVariantResponse:
    """A wish with its signature."""
    return adminpb.SignVariantResponse(quality=wanted.quality, format=wanted.extension, signature=wanted.signature)
