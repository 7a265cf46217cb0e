"""The event stream of one task (`/api/poll-task`), instead of a poll every two seconds.

See docs/rest.md#event-streams.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs, watches
from gateway.rest import client_address, request_fields
from gateway.rest.event_stream import HEARTBEAT, RETRY, EventStream, encoded, frame, id_of
from gateway.rest.responses import NO_STORE
from gateway.routes.image_site import task_records

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


async def poll_task(request: Request) -> Response:
    """GET /api/poll-task. An unknown task is JSON like any failure, because the first read comes before the stream."""
    task_id = request_fields.query_id(request, "taskId")
    async with AsyncExitStack() as held:
        opened = watches.of(request).open(stubs.of(request).generation, task_id, client_address.address_of(request))
        watch = await held.enter_async_context(opened)
        first, seen = await watch.first(), request.headers.get("last-event-id", "")
        if request.method == "HEAD" or (is_last(first) and id_of(data_of(first)) == seen):
            return finished(request)
        return EventStream(frames(watch, first, seen, request.app.state.settings.heartbeat_seconds), held.pop_all())


def finished(request: Request) -> Response:
    """An answer without events; 204 tells an EventSource that has seen the end not to come back (HTML, 9.2.2)."""
    status = HTTPStatus.OK if request.method == "HEAD" else HTTPStatus.NO_CONTENT
    return Response(status_code=status, headers=NO_STORE, media_type=EventStream.media_type)


async def frames(watch: watches.Watch, first: Generation, seen: str, heartbeat: float) -> AsyncIterator[bytes]:
    """Each visible change once, but for the one the client has seen; a heartbeat whenever none came for long."""
    yield RETRY
    generation: Generation | None = first
    while not watch.over:
        if generation is None:
            yield HEARTBEAT
        elif id_of(data := data_of(generation)) != seen:
            seen = id_of(data)
            yield frame(data)
        generation = await watch.next(heartbeat)


def data_of(generation: Generation) -> bytes:
    """The record of image-details with a type, as JSON."""
    return encoded(event(generation))


def event(generation: Generation) -> dict[str, Any]:
    """The one shape of a task, and what kind of news it is."""
    return {"type": TYPES.get(generation.state, PROGRESS), **task_records.record(generation)}


def is_last(generation: Generation) -> bool:
    """Whether the generation has ended."""
    return generation.state in TYPES
