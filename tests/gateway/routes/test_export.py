"""All records by one route (S4), which is off unless the operator turns it on."""

import json

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from tests.gateway.conftest import Connect, Doubles

TOKEN = "a-token-nobody-guesses"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def opened(connect_with: Connect) -> httpx.AsyncClient:
    return connect_with(export_token=TOKEN)


async def test_without_a_token_of_the_operators_there_is_no_export(client: httpx.AsyncClient) -> None:
    for headers in ({}, BEARER, {"Authorization": "Bearer "}):
        answer = await client.get("/api/export", headers=headers)

        assert answer.status_code == 404
        assert "EXPORT_TOKEN" in answer.json()["error"]


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN]
)
async def test_only_the_token_opens_it(opened: httpx.AsyncClient, given: str) -> None:
    answer = await opened.get("/api/export", headers={"Authorization": given})

    assert answer.status_code == 403
    assert answer.json()["code"] == "FORBIDDEN"
    assert TOKEN not in answer.text


async def test_the_export_is_one_json_document_with_a_record_a_line(
    opened: httpx.AsyncClient, doubles: Doubles
) -> None:
    row = generationpb.Generation(name="generations/gen_1", model="gpt4o-image", prompt='a "cat"\n]}')
    doubles.generation.rows["gen_1"] = row
    doubles.storage.add("uploads/1-ab.png", size_bytes=3, sha256="a" * 64)
    for identifier in ("share_1", "share_2"):
        doubles.share.add(identifier, prompt=identifier, unlisted=identifier == "share_2")
    answer = await opened.get("/api/export", headers=BEARER)
    document = json.loads(answer.content)
    first, *lines, last = answer.text.splitlines()

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert document["version"] == 1
    assert {each["kind"] for each in document["records"]} == {"town", "generation", "object", "share"}
    [generation] = [each for each in document["records"] if each["kind"] == "generation"]
    assert (generation["name"], generation["prompt"]) == (row.name, row.prompt)
    shares = [(each["name"], each["tokenDigest"]) for each in document["records"] if each["kind"] == "share"]
    assert shares == [("shares/share_1", "d" * 64), ("shares/share_2", "d" * 64)]
    assert (first.startswith('{"version":1,'), last) == (True, "]}")
    assert [json.loads(line.removesuffix(",")) for line in lines] == document["records"]


async def test_an_export_without_the_services_is_503(opened: httpx.AsyncClient, doubles: Doubles) -> None:
    await doubles.stop("generation")
    answer = await opened.get("/api/export", headers=BEARER)

    assert answer.status_code == 503
    assert answer.json()["success"] is False


async def test_a_token_that_can_be_tried_out_is_refused(connect_with: Connect) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        connect_with(export_token="short")


async def test_an_object_of_a_source_that_only_a_newer_storage_knows_is_exported(
    opened: httpx.AsyncClient, doubles: Doubles
) -> None:
    doubles.storage.add("uploads/1-ab.png", size_bytes=3, sha256="a" * 64, source=99)
    document = json.loads((await opened.get("/api/export", headers=BEARER)).content)

    assert [each["source"] for each in document["records"] if each["kind"] == "object"] == ["unspecified"]
