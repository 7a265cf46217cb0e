"""The state of the stack: probes for machines, health for people and monitors, and the configuration in yes and no.

`/healthz` says whether this process is alive, `/readyz` whether the whole stack serves, and to Envoy alone `/-/ready`
whether this process takes requests. `/api/health` and the routes after it (docs/rest.md#health,
docs/rest.md#diagnostics) answer 200 whatever they find: what they find is the answer. No route here calls the provider,
or shows the value of a setting.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

from kawaii.generation.v1 import admin_pb2 as generationadminpb
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.clients import stubs
from gateway.rest import errors
from gateway.rest.responses import NO_STORE, Json, route
from services.chassis.errors import NotFound, Unavailable
from services.chassis.health import READY_PATH, Readiness
from services.chassis.names import host_of
from services.chassis.origins import LOOPBACK_HOSTS

SERVICES: Final = ("generation", "storage", "share", "community")

LOOK_SECONDS = 1.0  # for each look, and all are taken at once
PRODUCTION = "production"
Keys = generationadminpb.ListProviderKeysResponse

STORAGE_MESSAGES = {True: "Storage is configured and serving.", False: "Storage is not serving at the moment."}
DEBUG_ENV_OFF = "This page is switched off. The operator can turn it on with DEBUG_ENV_ENABLED."


class OwnReadiness:
    """Answers Envoy, which asks every process each second, before all that bounds, counts and logs requests."""

    def __init__(self, app: ASGIApp, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 while this process takes requests, 503 until it does and once it drains; pass other requests on."""
        if scope["path"] != READY_PATH:
            await self._app(scope, receive, send)
            return
        status = 200 if self._readiness.ready else 503
        await PlainTextResponse(f"{self._readiness.word}\n", status)(scope, receive, send)


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


class _Stack(NamedTuple):
    """Which services serve, and the key pool; None when generation did not answer."""

    generation: bool
    storage: bool
    share: bool
    keys: Keys | None


async def health(request: Request) -> Response:
    """GET /api/health: S1's three parts, `ok` when all of them work, and the second family's `env` and `time`."""
    stack = await _look(stubs.of(request))
    usable = None if stack.keys is None else _has_usable(stack.keys)
    parts = {
        # A pool that could not be read is no reason for alarm: only one that is known to be dry.
        "kieApi": stack.generation and usable is not False,
        "r2Storage": stack.storage,
        "shareSystem": stack.share,
    }
    ok, env = all(parts.values()), _environment(request.app.state.settings.origin)
    now = time.time_ns() // 1_000_000
    return Json({"success": True, "ok": ok, **parts, "keyUsable": usable, "env": env, "time": now}, headers=NO_STORE)


async def test_env(request: Request) -> Response:
    """GET /api/test-env: whether each part is there and set up; never a value, a name or a length."""
    settings, stack = request.app.state.settings, await _look(stubs.of(request))
    env = {
        "kieApiKey": bool(stack.keys and stack.keys.provider_keys),
        "appUrl": bool(settings.app_url),
        "storagePublicBaseUrl": bool(settings.storage_public_base_url),
        "database": bool(settings.database_url),
        "redis": bool(settings.redis_url),
    }
    services = {"generation": stack.generation, "storage": stack.storage, "share": stack.share}
    return Json({"success": True, "env": env, "services": services}, headers=NO_STORE)


async def _look(services: stubs.Clients) -> _Stack:
    """Look at all parts at the same time."""
    wanted = services.admin.ListProviderKeys(generationadminpb.ListProviderKeysRequest(), timeout=LOOK_SECONDS)
    return _Stack(
        *await asyncio.gather(
            services.serving("generation", LOOK_SECONDS),
            services.serving("storage", LOOK_SECONDS, stubs.BYTES),
            services.serving("share", LOOK_SECONDS),
            stubs.answered(wanted),
        )
    )


def _has_usable(keys: Keys) -> bool:
    """Whether some key is in use and its account does not rest."""
    resting = {account.account for account in keys.accounts if account.HasField("rest_end_time")}
    active = (key for key in keys.provider_keys if key.state == generationadminpb.ProviderKey.STATE_ACTIVE)
    return any(key.account not in resting for key in active)


def _environment(origin: str) -> str:
    """A site that only its own machine can reach is in development."""
    return "development" if host_of(origin) in LOOPBACK_HOSTS else PRODUCTION


async def check_r2_config(request: Request) -> Response:
    """GET /api/check-r2-config (docs/rest.md#diagnostics); uploads and results share one backend here."""
    serving = await stubs.of(request).serving("storage", part=stubs.BYTES)
    config = {"uploadBucketConfigured": serving, "afterimageBucketConfigured": serving, "timestamp": _now()}
    return Json({"success": True, "r2Config": config, "message": STORAGE_MESSAGES[serving]}, headers=NO_STORE)


async def debug_env(request: Request) -> Response:
    """GET /api/debug-env: the original's keys, with yes or no where it had values and lengths.

    See docs/rest.md#diagnostics.

    Raises:
        NotFound: it is switched off, as it is unless an operator turned it on.
    """
    settings = request.app.state.settings
    if not settings.debug_env_enabled:
        raise NotFound(DEBUG_ENV_OFF)
    stack = await _look(stubs.of(request))
    debug = {
        "timestamp": _now(),
        "envKeys": sorted(name.upper() for name in settings.model_fields_set),
        "uploadBucketExists": stack.storage,
        "afterimageBucketExists": stack.storage,
        "nodeEnv": _environment(settings.origin) == PRODUCTION,
        "appUrl": bool(settings.app_url),
        "kieApiKeyExists": bool(stack.keys and stack.keys.provider_keys),
        "r2Config": {"configured": stack.storage, "publicUrl": bool(settings.storage_public_base_url)},
    }
    return Json({"success": True, "debug": debug}, headers=NO_STORE)


def _now() -> str:
    """This moment as JavaScript's toISOString writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


ROUTES = [
    route("/healthz", GET=healthz),
    route("/readyz", GET=readyz),
    route("/api/health", GET=health),
    route("/api/test-env", GET=test_env),
    route("/api/check-r2-config", GET=check_r2_config),
    route("/api/debug-env", GET=debug_env),
]
