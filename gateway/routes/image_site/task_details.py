"""The routes that front ends poll: each reads one row of ours, and never calls the provider."""

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.rest.responses import NO_STORE, Json
from gateway.routes.image_site import nano_records, outcomes, task_records
from services.chassis import names


async def gpt4o_image(request: Request) -> Response:
    """GET /api/image-details (docs/rest.md#4o-details)."""
    return Json(task_records.details(await asked(request)), headers=NO_STORE)


async def flux_kontext(request: Request) -> Response:
    """GET /api/flux-kontext/image-details (docs/rest.md#flux-details)."""
    return Json(task_records.flux_details(await asked(request)), headers=NO_STORE)


async def nano_banana(request: Request) -> Response:
    """GET /api/nano-banana/image-details (docs/rest.md#nano-banana)."""
    return Json(nano_records.details(await asked(request)), headers=NO_STORE)


async def task_status(request: Request) -> Response:
    """GET /api/task-status (docs/rest.md#task-status)."""
    return Json(outcomes.status(await asked(request)), headers=NO_STORE)


async def asked(request: Request) -> generationpb.Generation:
    """The generation of ?taskId=, by our id or the provider's."""
    return await stubs.of(request).generation.GetGeneration(named(request_fields.query_id(request, "taskId")))


def named(task_id: str) -> generationpb.GetGenerationRequest:
    """The request for a task."""
    return generationpb.GetGenerationRequest(name=names.name("generations", task_id))
