"""The health of the stack for people and their monitors (docs/rest.md#health): quick, and in yes and no.

Unlike /readyz it answers 200 whatever it finds: what it finds is the answer. Nothing here asks the provider.
"""

import asyncio
import time
from typing import NamedTuple

from kawaii.generation.v1 import admin_pb2 as adminpb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest.responses import NO_STORE, Json
from gateway.rest.routing import route
from services.chassis.names import host_of

LOOK_SECONDS = 1.0  # for each look, and all are taken at once
PRODUCTION = "production"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
Keys = adminpb.ListProviderKeysResponse


class Stack(NamedTuple):
    """Who serves, and the key pool; None when nobody could tell."""

    generation: bool
    storage: bool
    share: bool
    keys: Keys | None


async def health(request: Request) -> Response:
    """GET /api/health: S1's three parts, `ok` when all of them work, and the second family's `env` and `time`."""
    stack = await looked_at(stubs.of(request))
    usable = None if stack.keys is None else has_usable(stack.keys)
    parts = {
        # A pool that nobody could look at is no reason for alarm: only one that is known to be dry.
        "kieApi": stack.generation and usable is not False,
        "r2Storage": stack.storage,
        "shareSystem": stack.share,
    }
    ok, env = all(parts.values()), environment(request.app.state.settings.origin)
    now = time.time_ns() // 1_000_000
    return Json({"success": True, "ok": ok, **parts, "keyUsable": usable, "env": env, "time": now}, headers=NO_STORE)


async def test_env(request: Request) -> Response:
    """GET /api/test-env: whether each part is there and set up; never a value, a name or a length."""
    settings, stack = request.app.state.settings, await looked_at(stubs.of(request))
    env = {
        "kieApiKey": bool(stack.keys and stack.keys.provider_keys),
        "appUrl": bool(settings.app_url),
        "storagePublicBaseUrl": bool(settings.storage_public_base_url),
        "database": bool(settings.database_url),
        "redis": bool(settings.redis_url),
    }
    services = {"generation": stack.generation, "storage": stack.storage, "share": stack.share}
    return Json({"success": True, "env": env, "services": services}, headers=NO_STORE)


async def looked_at(services: stubs.Clients) -> Stack:
    """Look at every part at once."""
    wanted = services.admin.ListProviderKeys(adminpb.ListProviderKeysRequest(), timeout=LOOK_SECONDS)
    return Stack(
        *await asyncio.gather(
            services.serving("generation", LOOK_SECONDS),
            services.serving("storage", LOOK_SECONDS, stubs.BYTES),
            services.serving("share", LOOK_SECONDS),
            stubs.answered(wanted),
        )
    )


def has_usable(keys: Keys) -> bool:
    """Whether some key is in use and its account does not rest."""
    resting = {account.account for account in keys.accounts if account.HasField("rest_end_time")}
    active = (key for key in keys.provider_keys if key.state == adminpb.ProviderKey.STATE_ACTIVE)
    return any(key.account not in resting for key in active)


def environment(origin: str) -> str:
    """A site that only its own machine can reach is in development."""
    return "development" if host_of(origin) in LOOPBACK_HOSTS else PRODUCTION


ROUTES = [route("/api/health", GET=health), route("/api/test-env", GET=test_env)]
