"""The state of an artwork's task, by any of its ids: ours, the generation's or the provider's."""

from typing import Any

from kawaii.community.v1 import artworks_pb2 as artworkspb
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.clients import stubs
from gateway.routes.community import viewers
from gateway.routes.community.parameters import path_id
from gateway.routes.community.rendering import card, id_of, ok
from services.chassis.errors import NotFound
from services.chassis.protobuf import milliseconds

Artwork = artworkspb.Artwork
Order = Artwork.Order

# FE-B stops at two words only, so a timeout shows as failed on task-status (docs/rest.md#artwork-status).
SEED_STATUS = {
    Order.STATE_PENDING: "pending",
    Order.STATE_RUNNING: "generating",
    Order.STATE_SUCCEEDED: "completed",
    Order.STATE_FAILED: "failed",
    Order.STATE_TIMED_OUT: "timeout",
}
POLLED_STATUS = {"pending": "generating", "timeout": "failed"}
WAITING = "The picture is being made."


async def task_status(request: Request) -> Response:
    """GET /api/artworks/task-status/{id}: what FE-B polls every five seconds."""
    return ok(polled(await _asked(request, "TASK_NOT_FOUND")))


async def generation_status(request: Request) -> Response:
    """GET /api/artworks/{id}/generation-status: S2's fields, for the owner."""
    await viewers.required(request)
    artwork = await _asked(request, "NOT_FOUND")
    if not artwork.owned:  # a published artwork is everybody's to see, but not how it came about
        raise NotFound("There is no such task of yours.")
    order = artwork.order
    status = {
        "id": id_of(artwork),
        "status": status_of(artwork),
        "taskId": task_id_of(artwork),
        "startedAt": milliseconds(order.start_time) or None,
        "completedAt": milliseconds(order.complete_time) or None,
        "errorMessage": order.message or None,
    }
    return ok(status)


async def redirect_to_status(request: Request) -> Response:
    """GET /api/artworks/kie-status/{id}: the old name of task-status."""
    return RedirectResponse(f"/api/artworks/task-status/{path_id(request)}", 302)


async def result(request: Request) -> Response:
    """GET /api/artworks/kie-result/{id}: the finished artwork, or 404."""
    artwork = await _asked(request, "RESULT_NOT_FOUND")
    if status_of(artwork) != "completed":
        raise NotFound("There is no result yet. Ask for the task's status until it is completed.", "RESULT_NOT_FOUND")
    return ok(polled(artwork) | {"title": artwork.title, "artwork": _shown(artwork)})


def polled(artwork: Artwork) -> dict[str, Any]:
    """An artwork as the state of its task; the picture is ours, never the provider's URL.

    The prompt and the input picture are shown to the owner alone: task ids stand in the URLs of older files.
    """
    status = status_of(artwork)
    shown = {
        "id": task_id_of(artwork),
        "taskId": task_id_of(artwork),
        "status": POLLED_STATUS.get(status, status),
        "resultImageUrl": artwork.uri if status == "completed" else None,
        "originalImageUrl": artwork.image_uris[0] if artwork.owned and artwork.image_uris else None,
        "errorMessage": artwork.order.message or None,
        "message": WAITING if status in ("pending", "generating") else None,
        "prompt": artwork.prompt if artwork.owned else None,
        "model": artwork.model,
        "aspectRatio": artwork.aspect_ratio,
        "artworkId": id_of(artwork),
        "artwork_id": id_of(artwork),
    }
    return {name: value for name, value in shown.items() if value is not None}


def status_of(artwork: Artwork) -> str:
    """The state of an artwork's order in a word; a picture that was never ordered is completed."""
    return SEED_STATUS.get(artwork.order.state, "generating") if artwork.HasField("order") else "completed"


def task_id_of(artwork: Artwork) -> str:
    """The id of an artwork's task: the generation's, or the artwork's own until generation has answered."""
    return artwork.order.generation_id or id_of(artwork)


def _shown(artwork: Artwork) -> dict[str, Any]:
    """The artwork's card; its prompt only for its owner, as beside it."""
    shown = card(artwork)
    return shown if artwork.owned else {name: value for name, value in shown.items() if name != "prompt"}


async def _asked(request: Request, reason: str) -> Artwork:
    wanted = artworkspb.FindArtworkRequest(viewer_id=await viewers.optional(request), id=path_id(request))
    if found := await stubs.found(stubs.of(request).artworks.FindArtwork(wanted)):
        return found
    raise NotFound("There is no such task of yours.", reason)
