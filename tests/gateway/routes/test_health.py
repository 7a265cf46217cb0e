"""How the stack is, as people, monitors and operators are told: yes, no, and nothing else (docs/rest.md#health)."""

import time
from typing import Any

import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.generation.v1 import admin_pb2 as generationadminpb

from services.chassis.errors import Unimplemented
from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import ORIGIN, failure

WELL: dict[str, Any] = {
    "success": True,
    "ok": True,
    "kieApi": True,
    "r2Storage": True,
    "shareSystem": True,
    "keyUsable": True,
    "env": "production",
}


async def health(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/api/health")
    body: dict[str, Any] = response.json()
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert abs(body.pop("time") - time.time() * 1000) < 60_000
    return body


async def test_all_is_well(client: httpx.AsyncClient) -> None:
    assert await health(client) == WELL


@pytest.mark.parametrize(("service", "part"), [("storage", "r2Storage"), ("share", "shareSystem")])
async def test_a_service_that_is_down_is_named_and_nothing_else(
    client: httpx.AsyncClient, doubles: Doubles, service: str, part: str
) -> None:
    await doubles.stop(service)

    assert await health(client) == {**WELL, "ok": False, part: False}


async def test_storage_whose_bucket_is_away_is_no_storage(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await doubles.bucket.take_away()
    config = (await client.get("/api/check-r2-config")).json()["r2Config"]

    assert await health(client) == {**WELL, "ok": False, "r2Storage": False}
    assert (config["uploadBucketConfigured"], config["afterimageBucketConfigured"]) == (False, False)
    assert (await client.get("/readyz")).status_code == 200


async def test_without_generation_nothing_is_known_of_the_keys(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await doubles.stop("generation")

    assert await health(client) == {**WELL, "ok": False, "kieApi": False, "keyUsable": None}


RESTING = generationadminpb.ProviderAccount(account="one", rest_end_time=Timestamp(seconds=1))


@pytest.mark.parametrize(
    "pool",
    [
        generationadminpb.ListProviderKeysResponse(),
        generationadminpb.ListProviderKeysResponse(
            provider_keys=[
                generationadminpb.ProviderKey(account="one", state=generationadminpb.ProviderKey.STATE_DISABLED)
            ]
        ),
        generationadminpb.ListProviderKeysResponse(
            provider_keys=[
                generationadminpb.ProviderKey(account="one", state=generationadminpb.ProviderKey.STATE_ACTIVE)
            ],
            accounts=[RESTING],
        ),
    ],
    ids=["no key", "disabled", "account rests"],
)
async def test_a_pool_that_is_dry_is_not_well(
    client: httpx.AsyncClient, doubles: Doubles, pool: generationadminpb.ListProviderKeysResponse
) -> None:
    doubles.admin.pool = pool

    assert await health(client) == {**WELL, "ok": False, "kieApi": False, "keyUsable": False}


async def test_one_usable_key_is_enough(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.admin.pool.accounts[0].CopyFrom(RESTING)
    doubles.admin.pool.provider_keys.add(account="two", state=generationadminpb.ProviderKey.STATE_ACTIVE)

    assert await health(client) == WELL


async def test_a_pool_that_nobody_can_look_at_is_no_alarm(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.admin.failure = Unimplemented("Not here.")

    assert await health(client) == {**WELL, "keyUsable": None}


async def test_a_look_that_hangs_is_given_up(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.admin.gate.clear()

    assert await health(client) == {**WELL, "keyUsable": None}


async def test_a_site_on_ones_own_machine_is_in_development(connect_with: Connect) -> None:
    client = connect_with(app_url="http://localhost:8080")

    assert (await client.get("/api/health")).json()["env"] == "development"


async def test_the_environment_is_yes_and_no_only(connect_with: Connect) -> None:
    response = await connect_with(database_url="postgresql://secret@db/x").get("/api/test-env")

    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert response.json() == {
        "success": True,
        "env": {"kieApiKey": True, "appUrl": True, "storagePublicBaseUrl": False, "database": True, "redis": False},
        "services": {"generation": True, "storage": True, "share": True},
    }


async def test_what_is_missing_is_a_no(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.admin.pool = generationadminpb.ListProviderKeysResponse()
    await doubles.stop("share")
    body = (await client.get("/api/test-env")).json()

    assert (body["env"]["kieApiKey"], body["services"]["share"]) == (False, False)


async def test_healthz_answers_whatever_the_services_do(client: httpx.AsyncClient, doubles: Doubles) -> None:
    for service in doubles.servers:
        await doubles.stop(service)
    response = await client.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"success": True, "status": "ok"})


async def test_readyz_is_200_once_every_service_serves(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "status": "ready",
        "services": {"generation": True, "storage": True, "share": True, "community": True},
    }


async def test_readyz_names_who_does_not_serve(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await doubles.stop("storage")
    response = await client.get("/readyz")

    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json() == {
        **failure("UNAVAILABLE", "Not serving yet: storage."),
        "services": {"generation": True, "storage": False, "share": True, "community": True},
    }


SECRET = "https://hush.files.test"


@pytest.mark.parametrize("serving", [True, False])
async def test_storage_is_a_yes_or_a_no(client: httpx.AsyncClient, doubles: Doubles, *, serving: bool) -> None:
    if not serving:
        await doubles.stop("storage")
    response = await client.get("/api/check-r2-config")
    body = response.json()

    assert response.status_code == 200
    assert body["r2Config"].pop("timestamp").endswith("Z")
    assert body == {
        "success": True,
        "r2Config": {"uploadBucketConfigured": serving, "afterimageBucketConfigured": serving},
        "message": "Storage is configured and serving." if serving else "Storage is not serving at the moment.",
    }


async def test_debug_env_is_off_unless_an_operator_turned_it_on(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/debug-env")

    assert response.status_code == 404
    assert response.json() == failure(
        "NOT_FOUND", "This page is switched off. The operator can turn it on with DEBUG_ENV_ENABLED."
    )


async def test_debug_env_says_yes_or_no_and_the_names_of_settings(connect_with: Connect) -> None:
    client = connect_with(debug_env_enabled=True, storage_public_base_url=SECRET, redis_url="redis://:hush@r.test")
    response = await client.get("/api/debug-env")
    body = response.json()

    assert body["debug"].pop("timestamp").endswith("Z")
    assert body == {
        "success": True,
        "debug": {
            "envKeys": ["APP_URL", "DEBUG_ENV_ENABLED", "REDIS_URL", "STORAGE_PUBLIC_BASE_URL"],
            "uploadBucketExists": True,
            "afterimageBucketExists": True,
            "nodeEnv": True,
            "appUrl": True,
            "kieApiKeyExists": True,
            "r2Config": {"configured": True, "publicUrl": True},
        },
    }
    assert response.headers["cache-control"] == "no-store"
    assert not [word for word in ("hush", "r.test", ORIGIN) if word in response.text]
