"""The probes: `/healthz`, is this process alive, and `/readyz`, does the whole stack serve."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import errors
from gateway.rest.responses import NO_STORE, Json
from gateway.rest.routing import route
from services.chassis.errors import Unavailable

SERVICES: Final = ("generation", "storage", "share", "community")


async def healthz(_request: Request) -> Response:
    """200 while this process answers at all."""
    return Json({"success": True, "status": "ok"}, headers=NO_STORE)


async def readyz(request: Request) -> Response:
    """200 once every service says SERVING, else 503 that names those which do not."""
    answers = await asyncio.gather(*map(stubs.of(request).serving, SERVICES))
    services = dict(zip(SERVICES, answers, strict=True))
    if all(answers):
        return Json({"success": True, "status": "ready", "services": services}, headers=NO_STORE)
    resting = ", ".join(name for name, serving in services.items() if not serving)
    return errors.answer(Unavailable(f"Not serving yet: {resting}."), {"services": services})


ROUTES = [route("/healthz", GET=healthz), route("/readyz", GET=readyz)]
