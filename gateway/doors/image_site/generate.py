"""The routes that order pictures: the answer is a task id, at once, and never a picture."""

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from gateway import clients, parse
from gateway.answers import NO_STORE, Json
from gateway.doors.image_site import orders, pictures, tasks

CREATE_SECONDS = 14.5  # above the longest wait for a definite answer (14 s), below the 15 s of the edge


async def gpt4o_image(request: Request) -> Response:
    """POST /api/generate-image (contract.md A1)."""
    fields = await parse.json_object(request)
    order = orders.gpt4o_image(fields)
    order.image_uris.extend(await pictures.public_uris(request, "fileUrl", orders.gpt4o_picture(fields)))
    return await ordered(request, order)


async def flux_kontext(request: Request) -> Response:
    """POST /api/flux-kontext/generate (contract.md A2)."""
    fields = await parse.json_object(request)
    order = orders.flux_kontext(fields)
    order.image_uris.extend(await pictures.public_uris(request, "inputImage", orders.flux_picture(fields)))
    return await ordered(request, order)


async def ordered(request: Request, order: generationpb.Generation) -> Response:
    """Place an order; the same Idempotency-Key places it once."""
    create = generationpb.CreateGenerationRequest(generation=order, request_id=parse.idempotency_key(request))
    generation = await clients.of(request).generation.CreateGeneration(create, timeout=CREATE_SECONDS)
    return Json(tasks.accepted(generation), headers=NO_STORE)
