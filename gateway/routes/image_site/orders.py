"""The routes that order pictures: the answer is a task id at once, and a picture only for a client that asked to wait.

A client asks by `Prefer: wait=N` (RFC 7240), and then waits at most N seconds for the picture.

Each family's form is read into the order that the generation service takes: 4o (docs/rest.md#4o-orders), Flux
(docs/rest.md#flux-orders), and Nano Banana in both layouts and spellings that front ends send
(docs/rest.md#nano-banana).
"""

import asyncio
import re
from typing import Any, NamedTuple

from google.protobuf.struct_pb2 import Struct
from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from catalogue import MODELS, of_family
from gateway.clients import stubs, watches
from gateway.rest import errors, idempotency, rate_limits, request_fields
from gateway.rest.request_fields import Fields
from gateway.rest.responses import NO_STORE, Json
from gateway.routes.image_site import input_images, task_records
from services.chassis import failpoints
from services.chassis.client_address import client_of_scope
from services.chassis.errors import invalid_field

GPT4O = MODELS["gpt4o-image"]
GPT4O_PIXELS = {"1024x1024": "1:1", "1024x683": "3:2", "683x1024": "2:3"}
GPT4O_RATIOS = {ratio: ratio for ratio in GPT4O.aspect_ratios} | GPT4O_PIXELS
GPT4O_DEFAULT_RATIO = GPT4O.aspect_ratios[0]  # also for any size that is not in the table (docs/rest.md#4o-orders)
TEXT_TO_IMAGE = "text-to-image"  # the one mode that leaves the picture out

# The family's first model, ratio and format are the defaults (docs/rest.md#flux-orders); which of them a model takes is
# for generation to say.
FLUX = of_family("flux-kontext")
FLUX_MODELS = tuple(model.id for model in FLUX)
FLUX_RATIOS = tuple(dict.fromkeys(ratio for model in FLUX for ratio in model.aspect_ratios))
FLUX_FORMATS = tuple(dict.fromkeys(format_ for model in FLUX for format_ in model.output_formats))

NANO, NANO_EDIT = MODELS["google/nano-banana"], MODELS["google/nano-banana-edit"]
NANO_MODELS = {model.id: model.id for model in (NANO, NANO_EDIT)} | {
    alias: model.id for model in (NANO, NANO_EDIT) for alias in model.aliases
}
NANO_SECTION = "input"  # where the front end nests what the original backend took flat
NANO_SPELLINGS = {
    "image_urls": "imageUrls",
    "output_format": "outputFormat",
    "enable_translation": "enableTranslation",
    "image_size": "imageSize",
    "aspect_ratio": "aspectRatio",
}
NANO_PICTURES = "imageUrls"
# Checked here because pictures given as data: URIs are stored before the order is placed
# (docs/provider.md#market-models).
MAX_NANO_PICTURES = NANO_EDIT.max_images

# Names of sizes that the provider's older models had (docs/provider.md#market-models), and the site's pixel sizes.
# Others pass as they are:
# which ratios there are, `auto` among them, is for the model to say.
NANO_RATIOS = {
    "square": "1:1",
    "square_hd": "1:1",
    "portrait": "3:4",
    "portrait_4_3": "3:4",
    "portrait_3_2": "2:3",
    "portrait_16_9": "9:16",
    "landscape": "4:3",
    "landscape_4_3": "4:3",
    "landscape_3_2": "3:2",
    "landscape_16_9": "16:9",
    "landscape_21_9": "21:9",
    "1024x1024": "1:1",
    "1024x683": "3:2",
    "683x1024": "2:3",
}
NANO_FORMATS = {"": NANO.output_formats[0], "jpg": "jpeg"}

CREATE_SECONDS = 14.5  # above the longest wait for a definite answer (14 s), also where the edge waits longer
MAX_WAIT_SECONDS = 55  # below the 60 s after which common middle boxes give up, and the 70 s of our own edge
WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


def _gpt4o_order(fields: Fields) -> generationpb.Generation:
    """The order of docs/rest.md#4o-orders, without its picture."""
    size = fields.text("size", GPT4O_DEFAULT_RATIO)
    return generationpb.Generation(
        model=GPT4O.id,
        prompt=fields.required("prompt"),
        aspect_ratio=GPT4O_RATIOS.get(size, GPT4O_DEFAULT_RATIO),
        parameters=model_parameters(isEnhance=fields.flag("enhancePrompt", default=False) or None),
    )


def _gpt4o_picture(fields: Fields) -> str:
    """The picture to start from, as the client gave it; empty when there is none or the mode has none."""
    return "" if fields.text("mode") == TEXT_TO_IMAGE else fields.text("fileUrl").strip()


def _flux_order(fields: Fields) -> generationpb.Generation:
    """The order of docs/rest.md#flux-orders, without its picture."""
    return generationpb.Generation(
        model=fields.choice("model", FLUX_MODELS, FLUX_MODELS[0]),
        prompt=fields.required("prompt"),
        aspect_ratio=fields.choice("aspectRatio", FLUX_RATIOS, FLUX_RATIOS[0]),
        output_format=fields.choice("outputFormat", FLUX_FORMATS, FLUX_FORMATS[0]),
        parameters=model_parameters(
            enableTranslation=fields.flag("enableTranslation", default=True),
            promptUpsampling=fields.flag("promptUpsampling", default=False),
            safetyTolerance=fields.integer("safetyTolerance"),
        ),
    )


def _flux_picture(fields: Fields) -> str:
    """The picture to edit, as the client gave it; empty when there is none."""
    return fields.text("inputImage").strip()


def model_parameters(**values: bool | int | None) -> Struct:
    """The model's extra fields, without those that were not given."""
    struct = Struct()
    struct.update({name: value for name, value in values.items() if value is not None})
    return struct


def _flattened(fields: Fields) -> Fields:
    """The order in one layout and one spelling."""
    return fields.flattened(NANO_SECTION, NANO_SPELLINGS)


def _nano_order(fields: Fields) -> generationpb.Generation:
    """The order of docs/rest.md#nano-banana, flattened, without its pictures."""
    fields.flag(
        "enableTranslation", default=True
    )  # checked and left out: the model reads any language and takes no such field
    format_ = fields.text("outputFormat").lower()
    return generationpb.Generation(
        model=NANO_MODELS[fields.choice("model", NANO_MODELS, "")],
        prompt=fields.required("prompt"),
        aspect_ratio=_nano_ratio(fields.text("aspectRatio") or fields.text("imageSize")),
        output_format=NANO_FORMATS.get(format_, format_),
    )


def _nano_ratio(size: str) -> str:
    """A size in words or pixels as a ratio; empty leaves it to the model."""
    word = size.strip().lower()
    return NANO_RATIOS.get(word, word)


def _nano_pictures(fields: Fields) -> list[str]:
    """The pictures to edit, as the client gave them; none for the model that only draws, as the original had it."""
    if NANO_MODELS[fields.choice("model", NANO_MODELS, "")] != NANO_EDIT.id:
        return []
    given = [text.strip() for text in fields.texts(NANO_PICTURES)]
    if len(given) > MAX_NANO_PICTURES:
        raise invalid_field(NANO_PICTURES, f"{NANO_PICTURES} must be at most {MAX_NANO_PICTURES} pictures.")
    return given


async def gpt4o_image(request: Request) -> Response:
    """POST /api/generate-image (docs/rest.md#4o-orders)."""
    fields = await request_fields.json_object(request)
    return await _ordered(request, _gpt4o_order(fields), "fileUrl", _gpt4o_picture(fields))


async def flux_kontext(request: Request) -> Response:
    """POST /api/flux-kontext/generate (docs/rest.md#flux-orders)."""
    fields = await request_fields.json_object(request)
    return await _ordered(request, _flux_order(fields), "inputImage", _flux_picture(fields))


async def nano_banana(request: Request) -> Response:
    """POST /api/nano-banana/generate (docs/rest.md#nano-banana)."""
    fields = _flattened(await request_fields.json_object(request))
    order, given = _nano_order(fields), _nano_pictures(fields)
    return await _ordered(request, order, NANO_PICTURES, *given, model=order.model)


def _require_size(order: generationpb.Generation, limit: int) -> None:
    """Only pictures may make a body larger. Raises InvalidArgument (PAYLOAD_TOO_LARGE)."""
    if order.ByteSize() > limit:
        raise errors.too_large(limit)


async def _ordered(request: Request, order: generationpb.Generation, field: str, *given: str, **extra: str) -> Response:
    """Place an order with the pictures given in a field; the same Idempotency-Key places it once."""
    _require_size(order, request.app.state.settings.max_json_bytes)
    patience = Patience.of(request)
    key = await idempotency.request_key(request)
    address, *others = await rate_limits.quota_subjects(request)
    create = generationpb.CreateGenerationRequest(
        generation=order,
        request_id=key.id,
        quota_subject=address,
        quota_subjects=others,
        request_digest=key.digest,
    )
    async with input_images.provided(request, field, [value for value in given if value]) as ours:
        create.generation.image_uris.extend(ours.uris)
        placed = await stubs.of(request).generation.CreateGeneration(create, timeout=CREATE_SECONDS)
        if placed.joined:  # the first order has pictures of its own
            await ours.drop()
    await failpoints.reach("accept.answered")
    applied, news = await waited(request, placed.generation, patience)
    headers = NO_STORE | applied | rate_limits.of_order(placed) | (idempotency.REPLAYED if placed.joined else {})
    return Json(task_records.accepted(placed.generation) | extra | news, headers=headers)


class Patience(NamedTuple):
    """The seconds that a client wants to wait, 0 when it does not, and their end by the loop's clock."""

    seconds: int
    end: float

    @classmethod
    def of(cls, request: Request) -> "Patience":
        """Read it from the request, as of now."""
        seconds = _preferred(request)
        return cls(seconds, asyncio.get_running_loop().time() + seconds)


def _preferred(request: Request) -> int:
    """Seconds of the first `wait` preference, capped; other preferences, respond-async among them, are ignored."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    asked = next((found for text in preferences if (found := WAIT.fullmatch(text))), None)
    return min(int(asked[1]), MAX_WAIT_SECONDS) if asked else 0


async def waited(
    request: Request, generation: generationpb.Generation, patience: Patience
) -> tuple[dict[str, str], dict[str, Any]]:
    """Wait as the client prefers; returns the header that says so, and the fields that the answer gains.

    While too many clients wait the preference is not applied; the order is placed all the same.
    """
    if not patience.seconds:
        return {}, {}
    watching, client = watches.of(request), client_of_scope(request.scope)
    if watching.full(client):
        return {}, {}
    async with watching.open(stubs.of(request).generation, task_records.task_id_of(generation), client) as watch:
        generation = await _decided(watch, generation, patience.end)
    return {"Preference-Applied": f"wait={patience.seconds}"}, task_records.waited_for(generation)


async def _decided(watch: watches.Watch, generation: generationpb.Generation, end: float) -> generationpb.Generation:
    """The generation once it has ended or has its picture, or as it is when the time is over."""
    now = asyncio.get_running_loop().time
    while task_records.outcome(generation) == task_records.PENDING and not watch.over and (left := end - now()) > 0:
        generation = await watch.next(left) or generation
    return generation
