"""Serves the description of the image site's routes (OpenAPI 3.1); a test compares it with the route table."""

from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.rest.responses import conditions
from services.chassis import preconditions

DOCUMENT: Final = (Path(__file__).parent / "openapi.json").read_bytes()
HEADERS = {"Cache-Control": "public, max-age=300", "ETag": f'"{sha256(DOCUMENT).hexdigest()[:16]}"'}


async def openapi(request: Request) -> Response:
    """GET /api/openapi.json."""
    if status := preconditions.check(request.method, conditions(request), HEADERS["ETag"]):
        return Response(status_code=status, headers=HEADERS)
    return Response(DOCUMENT, headers=HEADERS, media_type="application/json")
