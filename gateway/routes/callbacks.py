"""The route for providers' callbacks: bytes and headers go on untouched, because only their family can read them."""

from functools import partial

from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catalogue import CALLBACK_KINDS
from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.rest.responses import Json, route
from services.chassis import failpoints

MESSAGE = "回调处理成功"  # the words of S0 (docs/rest.md#sources)


async def receive(kind: str, request: Request) -> Response:
    """Pass one callback to the generation service, which stores it before it answers."""
    token = request.path_params.get("token", "")
    callback = generationpb.ReceiveCallbackRequest(
        kind=kind,
        token=request_fields.identifier("token", token) if token else "",
        body=await request.body(),
        headers=forwarded_headers(request),
    )
    await failpoints.reach("callback.received")
    await stubs.of(request).generation.ReceiveCallback(callback)
    await failpoints.reach("callback.answered")
    return Json({"success": True, "message": MESSAGE})


def forwarded_headers(request: Request) -> dict[str, str]:
    """The headers that a signature or a decoder needs; no cookie or authorisation of ours goes along."""
    return {name: value for name, value in request.headers.items() if name.startswith(("x-webhook-", "content-type"))}


def routes(kind: str) -> list[Route]:
    """The seed's bare path, and the one with the attempt's token that providers are given."""
    endpoint = partial(receive, kind)
    path = f"/api/callback/{kind}"
    return [route(path, POST=endpoint), route(f"{path}/{{token}}", POST=endpoint)]


ROUTES = [found for kind in CALLBACK_KINDS.values() for found in routes(kind)]
