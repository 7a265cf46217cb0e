"""The routes of artworks: order by prompt, upload, save a finished picture, show, publish, remove, report."""

from collections.abc import Mapping
from typing import Any

from kawaii.community.v1 import artworks_pb2 as artworkspb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs, uploads
from gateway.rest import idempotency, multipart, rate_limits, request_fields
from gateway.routes.community import viewers
from gateway.routes.community.parameters import artwork_name, path_id, shown_user_id
from gateway.routes.community.rendering import detail, id_of, ok, status_of
from gateway.routes.community.tasks import task_id_of
from gateway.routes.image_site import input_images
from gateway.routes.image_site.orders import FLUX_MODELS, FLUX_RATIOS, model_parameters

PREFIX = "artworks/original"
DEFAULT_RATIO, DEFAULT_FORMAT = "1:1", "png"  # docs/rest.md#artwork-orders
FORMATS = ("png", "jpeg")
ACCEPTED = "The picture is being made. Ask for the task's status until it is completed."
UPLOADED = "The picture is uploaded."


async def generate(request: Request) -> Response:
    """POST /api/artworks/generate (docs/rest.md#artwork-orders)."""
    viewer_id, fields = await viewers.required(request), await request_fields.json_object(request)
    order = _order(viewer_id, fields)
    key = await idempotency.request_key(request)
    order.request_id, order.request_digest = key.id, key.digest
    order.quota_subjects.extend(await rate_limits.quota_subjects(request))
    given = [picture] if (picture := fields.text("inputImage").strip()) else []
    async with input_images.provided(request, "inputImage", given) as ours:
        order.image_uris.extend(ours.uris)
        answer = await stubs.of(request).artworks.CreateArtwork(order)
        if answer.joined:  # the first order has pictures of its own
            await ours.drop()
    return _ordered(answer)


async def regenerate(request: Request) -> Response:
    """POST /api/artworks/{id}/regenerate (docs/rest.md#artwork-orders)."""
    wanted = artworkspb.RegenerateArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    key = await idempotency.request_key(request)
    wanted.request_id, wanted.request_digest = key.id, key.digest
    wanted.quota_subjects.extend(await rate_limits.quota_subjects(request))
    return _ordered(await stubs.of(request).artworks.RegenerateArtwork(wanted))


async def upload(request: Request) -> Response:
    """POST /api/artworks/upload: keeps the file, and makes a draft of it when a title asks for one.

    See docs/rest.md#artwork-uploads.
    """
    viewer_id, limit = await viewers.required(request), request.app.state.settings.max_upload_bytes
    key, replays = await idempotency.request_key(request, read_body=False), dict[str, str]()
    file, storage = await multipart.incoming_file(request, limit), stubs.of(request).storage
    stored = await uploads.store(
        storage, file.name, file.chunks, limit, prefix=PREFIX, metadata=key.metadata, replays=replays
    )
    title = file.texts.get("title", "").strip()
    draft = bool(title) and file.texts.get("as_artwork", "").strip().lower() in ("1", "true", "yes", "on")
    noted = artworkspb.UploadArtworkRequest(viewer_id=viewer_id, object=stored.name, draft=draft, title=title)
    return _marked(uploaded(await stubs.of(request).artworks.UploadArtwork(noted)), replays)


async def save_draft(request: Request) -> Response:
    """POST /api/artworks/save-draft (docs/rest.md#saved-artworks)."""
    artwork, replays = await _save(request, publish=False)
    return _marked(saved(artwork), replays)


async def publish_picture(request: Request) -> Response:
    """POST /api/artworks/publish (docs/rest.md#saved-artworks)."""
    artwork, replays = await _save(request, publish=True)
    return _marked(saved(artwork) | {"slug": artwork.slug}, replays)


def _ordered(answer: artworkspb.CreateArtworkResponse | artworkspb.RegenerateArtworkResponse) -> Response:
    headers = rate_limits.of_order(answer) | (idempotency.REPLAYED if answer.joined else {})
    return _marked(accepted(answer.artwork), headers)


def _marked(data: dict[str, Any], headers: Mapping[str, str]) -> Response:
    answer = ok(data)
    answer.headers.update(headers)
    return answer


def accepted(artwork: artworkspb.Artwork) -> dict[str, Any]:
    """The answer to an order: every id that a client may go on with (docs/rest.md#artwork-orders)."""
    task_id, artwork_id = task_id_of(artwork), id_of(artwork)
    return {
        "id": task_id,
        "taskId": task_id,
        "artworkId": artwork_id,
        "artwork_id": artwork_id,
        "status": "generating",
        "message": ACCEPTED,
    }


def uploaded(answer: artworkspb.UploadArtworkResponse) -> dict[str, Any]:
    """Where the file is found; with the draft's ids when there is one."""
    shown: dict[str, Any] = {"originalUrl": answer.uri, "thumbUrl": answer.uri, "url": answer.uri, "message": UPLOADED}
    if not answer.HasField("artwork"):
        return shown
    artwork = answer.artwork
    ids = {"id": id_of(artwork), "artwork_id": id_of(artwork), "status": status_of(artwork), "title": artwork.title}
    return shown | {"thumbUrl": artwork.thumbnail_uri or answer.uri} | ids


def saved(artwork: artworkspb.Artwork) -> dict[str, Any]:
    """A picture that is now an artwork."""
    return {
        "id": id_of(artwork),
        "originalUrl": artwork.uri,
        "thumbUrl": artwork.thumbnail_uri or artwork.uri,
        "status": status_of(artwork),
        "title": artwork.title,
        "userId": shown_user_id(artwork.author.user_id),
    }


def _order(viewer_id: str, fields: request_fields.Fields) -> artworkspb.CreateArtworkRequest:
    """The order, without its picture; promptUpsampling and enableTranslation are on, as both seeds have them."""
    return artworkspb.CreateArtworkRequest(
        viewer_id=viewer_id,
        prompt=fields.required("prompt").strip(),
        model=fields.choice("model", FLUX_MODELS, FLUX_MODELS[0]),
        aspect_ratio=fields.choice("aspectRatio", FLUX_RATIOS, DEFAULT_RATIO),
        output_format=fields.choice("outputFormat", FORMATS, DEFAULT_FORMAT),
        title=fields.text("title").strip(),
        parameters=model_parameters(
            enableTranslation=fields.flag("enableTranslation", default=True),
            promptUpsampling=fields.flag("promptUpsampling", default=True),
            safetyTolerance=fields.integer("safetyTolerance"),
        ),
    )


async def _save(request: Request, *, publish: bool) -> tuple[artworkspb.Artwork, dict[str, str]]:
    """The artwork, and the header of an answer that was given before."""
    viewer_id, fields = await viewers.required(request), await request_fields.json_object(request)
    wanted = artworkspb.SaveArtworkRequest(
        viewer_id=viewer_id,
        title=fields.required("title").strip(),
        image_uri=request_fields.web_url("imageUrl", fields.required("imageUrl").strip()),
        prompt=fields.text("prompt"),
        model=_known(fields.text("model"), FLUX_MODELS),
        aspect_ratio=_known(fields.text("aspectRatio"), FLUX_RATIOS, DEFAULT_RATIO),
        output_format=_known(fields.text("outputFormat"), FORMATS),
        original_uri=_optional_url("originalImageUrl", fields.text("originalImageUrl").strip()),
        publish=publish,
    )
    key = await idempotency.request_key(request)
    call = stubs.of(request).artworks.SaveArtwork(wanted, metadata=key.metadata)
    return await call, await idempotency.replayed(call)


def _known(value: str, choices: tuple[str, ...], default: str = "") -> str:
    """The value when it is one of the choices, else the default: FE-B sends what it has.

    See docs/rest.md#saved-artworks.
    """
    return value if value in choices else default or choices[0]


def _optional_url(field: str, value: str) -> str:
    return request_fields.web_url(field, value) if value else ""


async def read(request: Request) -> Response:
    """GET /api/artworks/{id} (docs/rest.md#one-artwork)."""
    wanted = artworkspb.GetArtworkRequest(viewer_id=await viewers.optional(request), name=artwork_name(request))
    artwork = await stubs.of(request).artworks.GetArtwork(wanted)
    answer = ok(detail(artwork))
    if artwork.state != artworkspb.Artwork.STATE_PUBLISHED:
        answer.headers["X-Robots-Tag"] = "noindex"  # unlisted: it opens for whoever holds the id
    return answer


async def publish(request: Request) -> Response:
    """POST /api/artworks/{id}/publish (docs/rest.md#publication)."""
    wanted = artworkspb.PublishArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    key = await idempotency.request_key(request)
    call = stubs.of(request).artworks.PublishArtwork(wanted, metadata=key.metadata)
    answer = _stated(await call)
    answer.headers.update(await idempotency.replayed(call))
    return answer


async def unpublish(request: Request) -> Response:
    """POST /api/artworks/{id}/unpublish (docs/rest.md#publication)."""
    wanted = artworkspb.UnpublishArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    return _stated(await stubs.of(request).artworks.UnpublishArtwork(wanted))


async def delete(request: Request) -> Response:
    """DELETE /api/artworks/{id} (docs/rest.md#publication)."""
    wanted = artworkspb.DeleteArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    await stubs.of(request).artworks.DeleteArtwork(wanted)
    return ok({"deleted": True, "id": path_id(request)})


async def report(request: Request) -> Response:
    """POST /api/artworks/{id}/report: report an artwork to the operators."""
    fields = await request_fields.json_object(request)
    wanted = artworkspb.ReportArtworkRequest(
        viewer_id=await viewers.required(request), name=artwork_name(request), reason=fields.required("reason")
    )
    await stubs.of(request).artworks.ReportArtwork(wanted)
    return ok({"reported": True, "id": path_id(request)})


def _stated(artwork: artworkspb.Artwork) -> Response:
    return ok({"status": status_of(artwork), "id": id_of(artwork), "slug": artwork.slug})
