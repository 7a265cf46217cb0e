"""What an operator is told about the configuration (docs/rest.md#diagnostics): yes, no, and nothing else."""

import httpx
import pytest

from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import ORIGIN, failure

SECRET = "https://user:hush@files.test"


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
    assert not [word for word in ("hush", "files.test", "r.test", ORIGIN) if word in response.text]
