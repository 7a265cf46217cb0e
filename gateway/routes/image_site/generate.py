"""The routes that order pictures: the answer is a task id at once, and a picture only for those who asked to wait."""

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import errors, idempotency, quota_subjects, rate_limits, request_fields
from gateway.rest.responses import NO_STORE, Json
from gateway.routes.image_site import input_images, nano_orders, order_fields, prefer_wait, task_records
from services.chassis import failpoints

CREATE_SECONDS = 14.5  # above the longest wait for a definite answer (14 s), also where the edge waits longer


async def gpt4o_image(request: Request) -> Response:
    """POST /api/generate-image (docs/rest.md#4o-orders)."""
    fields = await request_fields.json_object(request)
    return await ordered(request, order_fields.gpt4o_image(fields), "fileUrl", order_fields.gpt4o_picture(fields))


async def flux_kontext(request: Request) -> Response:
    """POST /api/flux-kontext/generate (docs/rest.md#flux-orders)."""
    fields = await request_fields.json_object(request)
    return await ordered(request, order_fields.flux_kontext(fields), "inputImage", order_fields.flux_picture(fields))


async def nano_banana(request: Request) -> Response:
    """POST /api/nano-banana/generate (docs/rest.md#nano-banana)."""
    fields = nano_orders.flattened(await request_fields.json_object(request))
    order, given = nano_orders.nano_banana(fields), nano_orders.pictures(fields)
    return await ordered(request, order, nano_orders.PICTURES, *given, model=order.model)


def require_size(order: generationpb.Generation, limit: int) -> None:
    """Only pictures may make a body larger. Raises InvalidArgument (PAYLOAD_TOO_LARGE)."""
    if order.ByteSize() > limit:
        raise errors.too_large(limit)


async def ordered(request: Request, order: generationpb.Generation, field: str, *given: str, **extra: str) -> Response:
    """Place an order with the pictures given in a field; the same Idempotency-Key places it once."""
    require_size(order, request.app.state.settings.max_json_bytes)
    patience = prefer_wait.Patience.of(request)
    key = await idempotency.request_key(request)
    address, *others = await quota_subjects.of_order(request)
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
    applied, news = await prefer_wait.waited(request, placed, patience)
    headers = NO_STORE | applied | rate_limits.of_order(placed) | (idempotency.REPLAYED if placed.joined else {})
    return Json(task_records.accepted(placed) | extra | news, headers=headers)
