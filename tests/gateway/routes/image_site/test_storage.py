"""Bringing pictures in and finding them again (docs/rest.md#direct-links)."""

from typing import Any

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis import names
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, failure

Output = generationpb.Generation.Output
TEMPORARY, FOREIGN = "https://tempfile.aiquickdraw.com/r/x.png", "https://elsewhere.test/a.png"


def kept(key: str, url: str, **fields: Any) -> dict[str, Any]:
    """The answer of download-and-upload."""
    return {
        "success": True,
        "publicUrl": f"{FILES}/{key}",
        "url": f"{FILES}/{key}",
        "key": key,
        "fileName": key.rpartition("/")[2],
        "size": 4,
        "contentType": "image/png",
        "taskId": None,
        "originalUrl": url,
        **fields,
    }


async def test_a_temporary_url_gets_a_direct_link(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/download-url", json={"url": TEMPORARY, "taskId": "kie-77"})

    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "downloadUrl": "https://direct.test/kie-77",
        "originalUrl": TEMPORARY,
        "taskId": "kie-77",
        "expiresIn": "20 minutes",
    }


async def test_any_other_url_is_returned_as_it_is(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/download-url", json={"url": FOREIGN})

    assert response.json() == {"success": True, "downloadUrl": FOREIGN, "isDirectUrl": True}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "url is missing or blank."),
        ({"url": 1}, "url must be a string."),
        ({"url": "file:///etc/passwd"}, "url must be an http or https URL."),
        ({"url": FOREIGN, "taskId": "a b"}, "taskId is missing or not an id."),
        ({"url": FOREIGN, "taskId": 7}, "taskId must be a string."),
    ],
)
async def test_a_link_needs_a_web_url(client: httpx.AsyncClient, body: dict[str, Any], message: str) -> None:
    response = await client.post("/api/download-url", json=body)

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", message))


async def test_our_own_url_is_returned_unchanged(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.storage.add("generated/gen_1/0.png", size_bytes=4, generation_id="gen_1")
    url = f"{FILES}/generated/gen_1/0.png"
    response = await client.post("/api/download-and-upload", json={"url": url, "fileName": "other.png"})

    assert response.json() == kept("generated/gen_1/0.png", url, taskId="gen_1")
    assert not doubles.storage.imports


async def test_a_stored_result_is_found_by_its_task_and_url(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.storage.add("generated/gen_1/0.png", size_bytes=4, generation_id="gen_1")
    output = Output(index=0, source_uri=TEMPORARY, object="objects/generated/gen_1/0.png")
    doubles.generation.add("gen_1", provider_task_id="kie-77", outputs=[output])
    response = await client.post("/api/download-and-upload", json={"kieImageUrl": TEMPORARY, "taskId": "kie-77"})

    assert response.json() == kept("generated/gen_1/0.png", TEMPORARY, taskId="kie-77")
    assert not doubles.storage.imports


async def test_a_result_not_stored_yet_is_stored_in_its_own_place(client: httpx.AsyncClient, doubles: Doubles) -> None:
    """So that the copy the service makes itself and the one the browser asks for are one object."""
    outputs = [Output(index=0, source_uri=FOREIGN), Output(index=1, source_uri=TEMPORARY)]
    doubles.generation.add("gen_1", outputs=outputs)
    body = {"url": TEMPORARY, "taskId": "gen_1", "fileName": "mine.png"}
    response = await client.post("/api/download-and-upload", json=body)

    assert response.json() == kept("generated/gen_1/1.png", TEMPORARY, taskId="gen_1")
    [request] = doubles.storage.imports
    assert (request.source_uri, request.generation_id, request.index, request.file_name) == (TEMPORARY, "gen_1", 1, "")


async def test_a_foreign_picture_is_imported_under_the_wished_name(client: httpx.AsyncClient, doubles: Doubles) -> None:
    body = {"url": FOREIGN, "kieImageUrl": TEMPORARY, "taskId": "kie-unknown", "fileName": "mine.png"}
    response = await client.post("/api/download-and-upload", json=body)

    assert response.status_code == 200
    assert response.json() == kept("generated/mine.png", TEMPORARY, taskId="kie-unknown")
    [request] = doubles.storage.imports
    assert (request.source_uri, request.download_uri) == (TEMPORARY, "https://direct.test/kie-unknown")
    assert (request.generation_id, request.file_name, request.task_id) == ("", "mine.png", "kie-unknown")


async def test_to_a_task_of_ours_nobody_adds_a_picture(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.generation.add("gen_1", outputs=[Output(index=0, source_uri=TEMPORARY)])
    await client.post("/api/download-and-upload", json={"url": FOREIGN, "taskId": "gen_1"})

    [request] = doubles.storage.imports
    assert (request.source_uri, request.generation_id, request.task_id) == (FOREIGN, "", "")


@pytest.mark.parametrize("spelling", ["?v=2", "#part", ""])
async def test_our_own_url_is_known_however_it_is_spelt(
    client: httpx.AsyncClient, doubles: Doubles, spelling: str
) -> None:
    doubles.storage.add("generated/gen_1/0.png", size_bytes=4, generation_id="gen_1")
    url = f"{FILES}/generated/gen_1/0.png{spelling}".replace("https://", "HTTPS://")
    response = await client.post("/api/download-and-upload", json={"kieImageUrl": url, "url": FOREIGN})

    assert response.json()["publicUrl"] == f"{FILES}/generated/gen_1/0.png"
    assert not doubles.storage.imports


async def test_a_url_of_another_host_is_fetched_as_it_is(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await client.post("/api/download-and-upload", json={"url": FOREIGN})

    [request] = doubles.storage.imports
    assert (request.source_uri, request.download_uri) == (FOREIGN, "")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "url is missing: give the picture's URL as url or kieImageUrl."),
        ({"url": " ", "kieImageUrl": ""}, "url is missing: give the picture's URL as url or kieImageUrl."),
        ({"url": ["a"]}, "url must be a string."),
        ({"url": "gopher://a.test"}, "url must be an http or https URL."),
        ({"url": FOREIGN, "taskId": "../x"}, "taskId is missing or not an id."),
        ({"url": FOREIGN, "fileName": 3}, "fileName must be a string."),
    ],
)
async def test_keeping_needs_a_web_url(
    client: httpx.AsyncClient, doubles: Doubles, body: dict[str, Any], message: str
) -> None:
    response = await client.post("/api/download-and-upload", json=body)

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", message))
    assert not doubles.storage.imports


@pytest.mark.parametrize("task_id", ["gen_1", "kie-77"])
async def test_a_stored_picture_is_found_by_either_id(
    client: httpx.AsyncClient, doubles: Doubles, task_id: str
) -> None:
    doubles.generation.add("gen_1", provider_task_id="kie-77")
    doubles.storage.add("generated/gen_1/0.png", generation_id="gen_1", index=0)
    doubles.storage.add("generated/gen_1/1.png", generation_id="gen_1", index=1)
    doubles.storage.add("generated/gen_12/0.png", generation_id="gen_12", index=0)
    response = await client.get("/api/get-generated-url", params={"taskId": task_id})

    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "found": True,
        "url": f"{FILES}/generated/gen_1/0.png",
        "key": "generated/gen_1/0.png",
    }


async def test_a_stored_picture_is_found_although_generation_is_down(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    doubles.storage.add("generated/kie-77.png", generation_id="kie-77")
    doubles.storage.add("uploads/1-ab.png", generation_id="kie-77")
    await doubles.stop("generation")
    found = await client.get("/api/get-generated-url", params={"taskId": "kie-77"})
    missing = await client.get("/api/get-generated-url", params={"taskId": names.new_id("gen")})
    unknown = await client.get("/api/get-generated-url", params={"taskId": "kie-78"})

    assert found.json()["key"] == "generated/kie-77.png"
    assert (missing.status_code, missing.json()["found"]) == (200, False)
    assert (unknown.status_code, unknown.headers["Retry-After"]) == (503, "2")


async def test_what_older_systems_left_is_found_by_its_task(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.storage.add("kie-downloads/abc1_1700000000000.png", generation_id="abc1")
    doubles.storage.add("generated/generated_abc12_1.png", generation_id="abc12")
    response = await client.get("/api/get-generated-url", params={"taskId": "abc1"})

    assert response.json()["key"] == "kie-downloads/abc1_1700000000000.png"


@pytest.mark.parametrize("task_id", ["gen_1", "gen_none"])
async def test_a_picture_not_stored_is_not_found_and_no_error(
    client: httpx.AsyncClient, doubles: Doubles, task_id: str
) -> None:
    doubles.generation.add("gen_1")
    response = await client.get("/api/get-generated-url", params={"taskId": task_id})

    assert response.status_code == 200
    assert response.json() == {"success": True, "found": False, "message": "文件尚未上传到R2"}
