"""The routes that tell the state of a task: records that front ends poll, and the event stream that replaces polling.

Each reads one row of ours and never calls the provider. The stream is docs/rest.md#event-streams.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs, watches
from gateway.rest import request_fields
from gateway.rest.responses import HEARTBEAT, NO_STORE, RETRY, EventStream, Json, event_data, event_frame, event_id
from gateway.routes.image_site import task_records
from services.chassis import names
from services.chassis.client_address import client_of_scope

Generation = generationpb.Generation

# The word of a last event (docs/rest.md#event-streams); every event before it is progress, whatever it shows already.
TYPES = {
    Generation.STATE_SUCCEEDED: "generation.succeeded",
    Generation.STATE_FAILED: "generation.failed",
    Generation.STATE_UNKNOWN: "generation.unknown",
    Generation.STATE_CANCELED: "generation.canceled",
    Generation.STATE_EXPIRED: "generation.expired",
    Generation.STATE_RESULT_LOST: "generation.result_lost",
}
PROGRESS = "generation.progress"


async def gpt4o_image(request: Request) -> Response:
    """GET /api/image-details (docs/rest.md#4o-details)."""
    return Json(task_records.details(await _generation(request)), headers=NO_STORE)


async def flux_kontext(request: Request) -> Response:
    """GET /api/flux-kontext/image-details (docs/rest.md#flux-details)."""
    return Json(task_records.flux_details(await _generation(request)), headers=NO_STORE)


async def nano_banana(request: Request) -> Response:
    """GET /api/nano-banana/image-details (docs/rest.md#nano-banana)."""
    return Json(task_records.nano_details(await _generation(request)), headers=NO_STORE)


async def task_status(request: Request) -> Response:
    """GET /api/task-status (docs/rest.md#task-status)."""
    return Json(task_records.status(await _generation(request)), headers=NO_STORE)


async def _generation(request: Request) -> generationpb.Generation:
    """The generation of ?taskId=, by our id or the provider's."""
    return await stubs.of(request).generation.GetGeneration(
        generation_request(request_fields.query_id(request, "taskId"))
    )


def generation_request(task_id: str) -> generationpb.GetGenerationRequest:
    """The request for the generation of a task, by our id or the provider's."""
    return generationpb.GetGenerationRequest(name=names.name("generations", task_id))


async def poll_task(request: Request) -> Response:
    """GET /api/poll-task. An unknown task is JSON like any failure, because the first read comes before the stream."""
    task_id = request_fields.query_id(request, "taskId")
    async with AsyncExitStack() as held:
        opened = watches.of(request).open(stubs.of(request).generation, task_id, client_of_scope(request.scope))
        watch = await held.enter_async_context(opened)
        first, seen = await watch.first(), request.headers.get("last-event-id", "")
        if request.method == "HEAD" or (_is_last(first) and event_id(_event(first)) == seen):
            return _finished(request)
        return EventStream(_frames(watch, first, seen, request.app.state.settings.heartbeat_seconds), held.pop_all())


def _finished(request: Request) -> Response:
    """An answer without events; 204 tells an EventSource that has seen the end not to come back (HTML, 9.2.2)."""
    status = HTTPStatus.OK if request.method == "HEAD" else HTTPStatus.NO_CONTENT
    return Response(status_code=status, headers=NO_STORE, media_type=EventStream.media_type)


async def _frames(watch: watches.Watch, first: Generation, seen: str, heartbeat: float) -> AsyncIterator[bytes]:
    """The frames of each visible change, without the one that the client has seen; a heartbeat after a silence."""
    yield RETRY
    generation: Generation | None = first
    while not watch.over:
        if generation is None:
            yield HEARTBEAT
        elif event_id(data := _event(generation)) != seen:
            seen = event_id(data)
            yield event_frame(data)
        generation = await watch.next(heartbeat)


def _event(generation: Generation) -> bytes:
    """The data of an event: the record of image-details, with the type of the news."""
    return event_data({"type": TYPES.get(generation.state, PROGRESS), **task_records.record(generation)})


def _is_last(generation: Generation) -> bool:
    """Whether the generation has ended."""
    return generation.state in TYPES
