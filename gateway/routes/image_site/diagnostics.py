"""The routes that show an operator the stack's configuration: yes or no, and the names of settings, no values."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest.responses import NO_STORE, Json
from gateway.routes import health
from services.chassis.errors import NotFound

MESSAGES = {True: "Storage is configured and serving.", False: "Storage is not serving at the moment."}
OFF = "This page is switched off. The operator can turn it on with DEBUG_ENV_ENABLED."


async def check_r2_config(request: Request) -> Response:
    """GET /api/check-r2-config (docs/rest.md#diagnostics); uploads and results share one backend here."""
    serving = await stubs.of(request).serving("storage", part=stubs.BYTES)
    config = {"uploadBucketConfigured": serving, "afterimageBucketConfigured": serving, "timestamp": now()}
    return Json({"success": True, "r2Config": config, "message": MESSAGES[serving]}, headers=NO_STORE)


async def debug_env(request: Request) -> Response:
    """GET /api/debug-env: the original's keys, with yes or no where it had values and lengths.

    See docs/rest.md#diagnostics.

    Raises:
        NotFound: it is switched off, as it is unless an operator turned it on.
    """
    settings = request.app.state.settings
    if not settings.debug_env_enabled:
        raise NotFound(OFF)
    stack = await health.looked_at(stubs.of(request))
    debug = {
        "timestamp": now(),
        "envKeys": sorted(name.upper() for name in settings.model_fields_set),
        "uploadBucketExists": stack.storage,
        "afterimageBucketExists": stack.storage,
        "nodeEnv": health.environment(settings.origin) == health.PRODUCTION,
        "appUrl": bool(settings.app_url),
        "kieApiKeyExists": bool(stack.keys and stack.keys.provider_keys),
        "r2Config": {"configured": stack.storage, "publicUrl": bool(settings.storage_public_base_url)},
    }
    return Json({"success": True, "debug": debug}, headers=NO_STORE)


def now() -> str:
    """This moment as JavaScript's toISOString writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
