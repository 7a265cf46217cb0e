"""What an operator is told about storage (contract.md A18)."""

import httpx
import pytest

from tests.gateway.conftest import Town


@pytest.mark.parametrize("serving", [True, False])
async def test_storage_is_a_yes_or_a_no(client: httpx.AsyncClient, town: Town, *, serving: bool) -> None:
    if not serving:
        await town.stop("storage")
    response = await client.get("/api/check-r2-config")
    body = response.json()

    assert response.status_code == 200
    assert body["r2Config"].pop("timestamp").endswith("+00:00")
    assert body == {
        "success": True,
        "r2Config": {"uploadBucketConfigured": serving, "afterimageBucketConfigured": serving},
        "message": "Storage is configured and serving." if serving else "Storage is not serving at the moment.",
    }
