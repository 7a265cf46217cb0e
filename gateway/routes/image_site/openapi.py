"""Serves the description of the image site's routes (OpenAPI 3.1); a test compares it with the route table.

openapi.json holds all of it but what the catalogue says of models and families, which is filled in on import.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from catalogue import CALLBACK_KINDS
from gateway.rest.responses import conditions
from gateway.routes.image_site.orders import FLUX_FORMATS, FLUX_MODELS, FLUX_RATIOS, NANO_MODELS
from services.chassis import preconditions


def _described(document: bytes) -> bytes:
    """The document with the models, ratios, formats and callbacks of today."""
    filled: dict[str, Any] = orjson.loads(document)
    schemas = filled["components"]["schemas"]
    flux = schemas["FluxOrder"]["properties"]
    flux["model"], flux["aspectRatio"], flux["outputFormat"] = map(_choice, (FLUX_MODELS, FLUX_RATIOS, FLUX_FORMATS))
    schemas["NanoModel"] = {"enum": list(NANO_MODELS)}
    filled["paths"] = dict(_paths(filled["paths"]))
    return orjson.dumps(filled, option=orjson.OPT_INDENT_2)


def _paths(written: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The paths of the document; those of a callback are written once, and here are those of each kind."""
    for path, item in written.items():
        if "{kind}" not in path:
            yield path, item
            continue
        for kind in CALLBACK_KINDS.values():
            post = item["post"]
            name = post["operationId"].format(kind=kind.title().replace("-", ""))
            named = {"operationId": name, "summary": post["summary"].format(kind=kind)}
            yield path.replace("{kind}", kind), {"post": {**post, **named}}


def _choice(values: Sequence[str]) -> dict[str, Any]:
    """A field that takes one of these or null; the first is the default."""
    return {"enum": [*values, None], "default": values[0]}


DOCUMENT: Final = _described((Path(__file__).parent / "openapi.json").read_bytes())
HEADERS = {"Cache-Control": "public, max-age=300", "ETag": f'"{sha256(DOCUMENT).hexdigest()[:16]}"'}


async def openapi(request: Request) -> Response:
    """GET /api/openapi.json."""
    if status := preconditions.check(request.method, conditions(request), HEADERS["ETag"]):
        return Response(status_code=status, headers=HEADERS)
    return Response(DOCUMENT, headers=HEADERS, media_type="application/json")
