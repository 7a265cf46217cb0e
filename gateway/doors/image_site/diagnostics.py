"""The route by which an operator sees whether pictures have a place; it says yes or no and nothing else."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from gateway import clients
from gateway.answers import NO_STORE, Json

MESSAGES = {True: "Storage is configured and serving.", False: "Storage is not serving at the moment."}


async def check_r2_config(request: Request) -> Response:
    """GET /api/check-r2-config (contract.md A18); uploads and results share one backend here."""
    serving = await clients.of(request).serving("storage")
    config = {
        "uploadBucketConfigured": serving,
        "afterimageBucketConfigured": serving,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return Json({"success": True, "r2Config": config, "message": MESSAGES[serving]}, headers=NO_STORE)
