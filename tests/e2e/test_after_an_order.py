"""The doors that follow an order: Nano Banana, the stream of events, waiting, and asking how the stack is."""

import io
import json
import re
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e

NANO, DETAILS = "/api/nano-banana/generate", "/api/nano-banana/image-details"


def picture_of(url: str) -> Image.Image:
    """The picture at a URL."""
    return Image.open(io.BytesIO(httpx.get(url).raise_for_status().content))


def nano_record(stack: Stack, task: str) -> dict[str, Any]:
    """The job record of a task, once it is over."""

    def settled() -> dict[str, Any] | None:
        record = stack.http.get(DETAILS, params={"taskId": task}).raise_for_status().json()["data"]["data"]
        return record if record["state"] in ("success", "fail") else None

    return until(settled)


def events(stack: Stack, task: str, last: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Ids and data of the events of a task, until the stream ends."""
    headers = {"Last-Event-ID": last} if last else {}
    text = stack.http.get("/api/poll-task", params={"taskId": task}, headers=headers).raise_for_status().text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("id: ")]
    return [(number[4:], json.loads(data[6:])) for number, data in blocks]


def test_nano_banana_draws_for_the_backend_s_layout(stack: Stack) -> None:
    prompt = "a banana on the moon"
    body = {"model": "google/nano-banana", "prompt": prompt, "imageSize": "16:9", "outputFormat": "png"}
    answer = stack.post(NANO, {**body, "enableTranslation": True}).raise_for_status().json()
    record = nano_record(stack, answer["taskId"])

    assert (answer["success"], answer["model"], answer["status"]) == (True, "google/nano-banana", "pending")
    assert not {"url", "urls"} & {*answer, *answer["data"], *answer["data"]["data"]}
    assert (record["state"], json.loads(record["resultJson"])["resultUrls"]) == ("success", record["resultUrls"])
    assert re.fullmatch(r".*/files/generated/[0-9a-f]{32}\.png", record["resultUrls"][0])  # no id can be read off it
    assert picture_of(record["resultUrls"][0]).format == "PNG"
    assert len(stack.bills(prompt)) == 1


def test_nano_banana_edits_for_the_front_end_s_layout(stack: Stack) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "yellow").save(file, "PNG")
    upload = stack.http.post("/api/upload-image", files={"file": ("b.png", file.getvalue(), "image/png")}).json()
    order = {
        "prompt": "the banana, peeled",
        "image_urls": [upload["fileUrl"]],
        "output_format": "jpeg",
        "enable_translation": True,
        "image_size": "auto",
    }
    task = stack.post(NANO, {"model": "nano-banana-edit", "input": order}).raise_for_status().json()["taskId"]
    record = nano_record(stack, task)

    assert (record["state"], record["model"]) == ("success", "google/nano-banana-edit")
    assert picture_of(record["resultUrls"][0]).format == "JPEG"


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": "a" * 5001},
        {"prompt": "a", "image_size": "7:5"},
        {"prompt": "a", "output_format": "gif"},
        {"prompt": "a", "image_urls": []},
        {"prompt": "a", "image_urls": ["ftp://a.example/x.png"]},
    ],
)
def test_what_the_model_does_not_take_is_refused_and_stores_nothing(stack: Stack, wrong: dict[str, Any]) -> None:
    picture = {"image_urls": ["https://a.example/x.png"]}
    answer = stack.post(NANO, {"model": "nano-banana-edit", "input": {**picture, **wrong}})

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")
    assert stack.bills(wrong["prompt"]) == []


def test_the_stream_leads_to_the_stored_picture_and_tells_nothing_twice(stack: Stack) -> None:
    task = stack.order("a film of a cat")
    received = events(stack, task)
    *_, (last, done) = received

    assert [data["type"] for _, data in received[:-1]] == ["generation.progress"] * (len(received) - 1)
    assert (done["type"], done["status"]) == ("generation.succeeded", "SUCCESS")
    assert len({number for number, _ in received}) == len(received)
    assert {name: value for name, value in done.items() if name != "type"} == stack.record(task)
    assert picture_of(done["response"]["resultUrls"][0])
    assert events(stack, task, "an older id") == [(last, done)]
    again = stack.http.get("/api/poll-task", params={"taskId": task}, headers={"Last-Event-ID": last})
    assert again.status_code == httpx.codes.NO_CONTENT


def test_the_status_is_pending_and_then_completed(stack: Stack) -> None:
    task = stack.order("a cat with a status")
    first = stack.http.get("/api/task-status", params={"taskId": task}).json()
    url = stack.picture(task)
    last = stack.http.get("/api/task-status", params={"taskId": task}).json()

    assert first["status"] == "pending"
    assert last["status"] == "completed"
    assert last["result"] == {"imageUrl": url}


def test_the_stack_is_well(stack: Stack) -> None:
    health = stack.http.get("/api/health").json()
    environment = stack.http.get("/api/test-env").json()

    assert [health[part] for part in ("ok", "kieApi", "r2Storage", "shareSystem", "keyUsable")] == [True] * 5
    assert environment["env"]["kieApiKey"] is True
    assert environment["services"] == {"generation": True, "storage": True, "share": True}


def test_who_prefers_to_wait_has_the_picture_in_the_answer(stack: Stack) -> None:
    prompt = "a cat that is waited for"
    body = {"prompt": prompt, "aspectRatio": "1:1"}
    answer = stack.http.post("/api/flux-kontext/generate", json=body, headers={"Prefer": "wait=10"})

    assert answer.headers["preference-applied"] == "wait=10"
    assert answer.json()["status"] == "completed"
    assert answer.json()["url"] == answer.json()["urls"][0] == stack.picture(answer.json()["taskId"])
    assert picture_of(answer.json()["url"])


def test_an_order_that_is_sent_again_is_billed_once(stack: Stack) -> None:
    body, headers = {"prompt": "a cat ordered twice", "model": "nano-banana"}, {"Idempotency-Key": "once-and-no-more"}
    first, second = [stack.http.post(NANO, json=body, headers=headers) for _ in range(2)]
    other = stack.http.post(NANO, json={**body, "prompt": "a dog"}, headers=headers)

    assert first.json()["taskId"] == second.json()["taskId"]
    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert nano_record(stack, first.json()["taskId"])["state"] == "success"
    assert len(stack.bills(body["prompt"])) == 1
