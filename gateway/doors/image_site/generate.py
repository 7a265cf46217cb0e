"""The routes that order pictures: the answer is a task id at once, and a picture only for those who asked to wait."""

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from gateway import clients, failures, idempotency, parse, rate_limits, subjects
from gateway.answers import NO_STORE, Json
from gateway.doors.image_site import nano_orders, orders, pictures, tasks, waiting
from services.chassis import failpoints

CREATE_SECONDS = 14.5  # above the longest wait for a definite answer (14 s), also where the edge waits longer


async def gpt4o_image(request: Request) -> Response:
    """POST /api/generate-image (docs/rest.md#4o-orders)."""
    fields = await parse.json_object(request)
    return await ordered(request, orders.gpt4o_image(fields), "fileUrl", orders.gpt4o_picture(fields))


async def flux_kontext(request: Request) -> Response:
    """POST /api/flux-kontext/generate (docs/rest.md#flux-orders)."""
    fields = await parse.json_object(request)
    return await ordered(request, orders.flux_kontext(fields), "inputImage", orders.flux_picture(fields))


async def nano_banana(request: Request) -> Response:
    """POST /api/nano-banana/generate (docs/rest.md#nano-banana)."""
    fields = nano_orders.flattened(await parse.json_object(request))
    order, given = nano_orders.nano_banana(fields), nano_orders.pictures(fields)
    return await ordered(request, order, nano_orders.PICTURES, *given, model=order.model)


def require_size(order: generationpb.Generation, limit: int) -> None:
    """Only pictures may make a body larger. Raises InvalidArgument (PAYLOAD_TOO_LARGE)."""
    if order.ByteSize() > limit:
        raise failures.too_large(limit)


async def ordered(request: Request, order: generationpb.Generation, field: str, *given: str, **extra: str) -> Response:
    """Place an order with the pictures given in a field; the same Idempotency-Key places it once."""
    require_size(order, request.app.state.settings.max_json_bytes)
    patience = waiting.Patience.of(request)
    key = await idempotency.request_key(request)
    address, *others = await subjects.of_order(request)
    create = generationpb.CreateGenerationRequest(
        generation=order,
        request_id=key.id,
        quota_subject=address,
        quota_subjects=others,
        request_digest=key.digest,
    )
    async with pictures.provided(request, field, [value for value in given if value]) as ours:
        create.generation.image_uris.extend(ours.uris)
        placed = await clients.of(request).generation.CreateGeneration(create, timeout=CREATE_SECONDS)
        if placed.joined:  # the first order has pictures of its own
            await ours.drop()
    await failpoints.reach("accept.answered")
    applied, news = await waiting.waited(request, placed, patience)
    headers = NO_STORE | applied | rate_limits.of_order(placed) | (idempotency.REPLAYED if placed.joined else {})
    return Json(tasks.accepted(placed) | extra | news, headers=headers)
