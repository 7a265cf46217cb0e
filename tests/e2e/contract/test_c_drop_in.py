"""What the image site's front end relies on, point by point (docs/rest.md#image-site-front-end)."""

import base64
from typing import Any

import httpx
import pytest

from tests.e2e.contract.conftest import Validated
from tests.e2e.contract.described import Description
from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e

FAILURE = {"success", "error", "code", "message"}
FINISHED = {"url", "urls"}  # what front ends take for a finished picture
STATUSES = (
    "/api/image-details",
    "/api/flux-kontext/image-details",
    "/api/nano-banana/image-details",
    "/api/task-status",
    "/api/get-generated-url",
)


def test_c1_failures_are_json_with_four_fields_on_every_route(stack: Stack, description: Description) -> None:
    """An empty request is wrong nearly everywhere; where it is right, the answer is JSON all the same."""
    for method, path in description.operations():
        answer = stack.http.request(method, path.replace("{id}", "share_nobody").replace("{token}", "att_nobody"))
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            assert set(answer.json()) == FAILURE, (method, path)
            assert answer.json()["error"] == answer.json()["message"], (method, path)
        assert answer.headers["content-type"].startswith(("application/json", "application/xml")), (method, path)
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, (method, path)


@pytest.mark.parametrize(
    ("path", "model"),
    [("/api/generate-image", ""), ("/api/flux-kontext/generate", ""), ("/api/nano-banana/generate", "nano-banana")],
)
def test_c2_a_pending_answer_has_no_url(stack: Stack, path: str, model: str) -> None:
    answer = stack.post(path, {"prompt": "a cat without a url", **({"model": model} if model else {})}).json()

    assert answer["status"] == "pending"
    assert not FINISHED & {*answer, *answer["data"], *answer["data"]["data"]}


def test_c3_the_record_is_nested_as_each_front_end_looks_for_it(stack: Stack, done: tuple[str, str]) -> None:
    gpt4o, flux, nano = (stack.http.get(path, params={"taskId": done[0]}).json() for path in STATUSES[:3])

    assert gpt4o["data"]["data"]["status"] == "SUCCESS"
    assert nano["data"]["data"]["state"] == "success"
    assert flux["data"]["status"] == flux["status"] == "SUCCESS"
    assert flux["data"]["resultUrls"] == flux["resultUrls"] == [done[1]]


def test_c4_progress_is_an_integer_and_no_error_is_told_while_running(stack: Stack) -> None:
    task = stack.order("a cat that takes its time sim:slow:2")
    seen: list[dict[str, Any]] = []

    def over() -> bool | None:
        seen.append(stack.record(task))
        return True if seen[-1]["status"] == "SUCCESS" else None

    until(over)
    assert all(type(record["progress"]) is int and 0 <= record["progress"] <= 100 for record in seen)
    assert {record["errorMessage"] for record in seen} == {""}


def test_c5_a_share_has_an_absolute_url_and_a_token_that_publishes_and_deletes(stack: Stack) -> None:
    made = stack.post("/api/share", {"generatedUrl": "https://pictures.example/c5.png"}).json()
    path, token = f"/api/share/{made['shareId']}", made["publishToken"]

    assert made["shareUrl"].startswith("http://")
    assert stack.http.put(path, json={"action": "publish", "token": token}).json()["published"] is True
    assert stack.http.request("DELETE", path, json={"token": token}).json()["deleted"] is True
    assert stack.http.get(path).status_code == httpx.codes.NOT_FOUND


def test_c6_items_hold_what_tiles_show(stack: Stack) -> None:
    stack.post("/api/share", {"generatedUrl": "https://pictures.example/c6.png", "style": "c6"}).raise_for_status()
    listed = stack.http.get("/api/share/list", params={"style": "c6"}).json()["data"]
    latest = stack.http.get("/api/share/latest").json()["data"]

    assert "cursor" not in listed
    assert all({"id", "generatedUrl", "style"} <= set(item) for item in [*listed["items"], *latest["items"]])


def test_c7_our_own_urls_are_returned_unchanged(stack: Stack, done: tuple[str, str], upload: str) -> None:
    for url in (done[1], upload):
        answer = stack.post("/api/download-and-upload", {"kieImageUrl": url, "fileName": "../../other.html"}).json()
        assert (answer["success"], answer["publicUrl"]) == (True, url)


def test_c8_pictures_may_be_read_by_pages_of_any_origin(done: tuple[str, str], upload: str) -> None:
    for url in (done[1], upload):
        assert httpx.get(url, headers={"Origin": "https://a.example"}).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("model", ["nano-banana", "google/nano-banana"])
@pytest.mark.parametrize("nested", [True, False])
def test_c9_nano_banana_is_taken_in_both_spellings_and_layouts(stack: Stack, model: str, *, nested: bool) -> None:
    order: dict[str, Any] = {"prompt": "a banana"}
    answer = stack.post("/api/nano-banana/generate", {"model": model, **({"input": order} if nested else order)})

    assert answer.json()["success"] is True


def test_c10_a_live_task_is_never_missing(stack: Stack) -> None:
    """From the very first question to the last, whatever the provider does meanwhile."""
    task = stack.order("a cat seen at every moment sim:reset-after")
    answers: list[int] = []

    def completed() -> bool | None:
        answer = stack.http.get("/api/task-status", params={"taskId": task})
        answers.append(answer.status_code)
        return True if answer.json().get("status") == "completed" else None

    until(completed)
    assert set(answers) == {200}


def test_c15_a_data_uri_becomes_a_picture_of_ours_or_is_refused(stack: Stack, validated: Validated, png: bytes) -> None:
    pasted = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    taken = stack.post("/api/generate-image", {"prompt": "from a pasted picture", "fileUrl": pasted})
    refused = stack.post("/api/generate-image", {"prompt": "from nothing", "fileUrl": "data:image/png;base64,%%%"})

    assert (taken.status_code, validated(taken)["success"]) == (200, True)
    assert (refused.status_code, validated(refused)["code"]) == (400, "INVALID_INPUT")


def test_c16_the_public_addresses_come_from_the_settings(stack: Stack, done: tuple[str, str]) -> None:
    """Their values are set in tests/gateway; here they are what a stack without settings has."""
    origin = f"http://localhost:{stack.http.base_url.port}"
    made = stack.post("/api/share", {"generatedUrl": "https://pictures.example/c16.png"}).json()

    assert made["shareUrl"] == f"{origin}/share?id={made['shareId']}"
    assert done[1].startswith(f"{origin}/files/generated/")


def test_c17_a_duplicate_share_answers_the_first(stack: Stack) -> None:
    body = {"generatedUrl": "https://pictures.example/c17.png"}
    first, second = stack.post("/api/share", body).json(), stack.post("/api/share", body).json()

    assert (second["success"], second["shareId"]) == (True, first["shareId"])
    assert "publishToken" not in second


def test_c18_every_status_route_takes_the_provider_s_id_too(stack: Stack, done: tuple[str, str]) -> None:
    theirs = stack.bills("a finished picture for the contract")[0]["task_id"]
    for path in STATUSES:
        ours = stack.http.get(path, params={"taskId": done[0]}).raise_for_status().json()
        assert stack.http.get(path, params={"taskId": theirs}).raise_for_status().json() == ours
