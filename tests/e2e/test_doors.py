"""The doors that follow an order: Nano Banana, the stream of events, waiting, and asking how the town is."""

import io
import json
import re
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.e2e.town import Town, until

pytestmark = pytest.mark.e2e

NANO, DETAILS = "/api/nano-banana/generate", "/api/nano-banana/image-details"


def picture_of(url: str) -> Image.Image:
    """The picture at a URL."""
    return Image.open(io.BytesIO(httpx.get(url).raise_for_status().content))


def nano_record(town: Town, task: str) -> dict[str, Any]:
    """The job record of a task, once it is over."""

    def settled() -> dict[str, Any] | None:
        record = town.http.get(DETAILS, params={"taskId": task}).raise_for_status().json()["data"]["data"]
        return record if record["state"] in ("success", "fail") else None

    return until(settled)


def events(town: Town, task: str, last: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Ids and data of the events of a task, until the stream ends."""
    headers = {"Last-Event-ID": last} if last else {}
    text = town.http.get("/api/poll-task", params={"taskId": task}, headers=headers).raise_for_status().text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("id: ")]
    return [(number[4:], json.loads(data[6:])) for number, data in blocks]


def test_nano_banana_draws_for_the_backend_s_layout(town: Town) -> None:
    prompt = "a banana on the moon"
    body = {"model": "google/nano-banana", "prompt": prompt, "imageSize": "16:9", "outputFormat": "png"}
    answer = town.post(NANO, {**body, "enableTranslation": True}).raise_for_status().json()
    record = nano_record(town, answer["taskId"])

    assert (answer["success"], answer["model"], answer["status"]) == (True, "google/nano-banana", "pending")
    assert not {"url", "urls"} & {*answer, *answer["data"], *answer["data"]["data"]}
    assert (record["state"], json.loads(record["resultJson"])["resultUrls"]) == ("success", record["resultUrls"])
    assert re.fullmatch(r".*/files/generated/[0-9a-f]{32}\.png", record["resultUrls"][0])  # no id can be read off it
    assert picture_of(record["resultUrls"][0]).format == "PNG"
    assert len(town.bills(prompt)) == 1


def test_nano_banana_edits_for_the_front_end_s_layout(town: Town) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "yellow").save(file, "PNG")
    upload = town.http.post("/api/upload-image", files={"file": ("b.png", file.getvalue(), "image/png")}).json()
    order = {
        "prompt": "the banana, peeled",
        "image_urls": [upload["fileUrl"]],
        "output_format": "jpeg",
        "enable_translation": True,
        "image_size": "auto",
    }
    task = town.post(NANO, {"model": "nano-banana-edit", "input": order}).raise_for_status().json()["taskId"]
    record = nano_record(town, task)

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
def test_what_the_model_does_not_take_is_refused_and_stores_nothing(town: Town, wrong: dict[str, Any]) -> None:
    picture = {"image_urls": ["https://a.example/x.png"]}
    answer = town.post(NANO, {"model": "nano-banana-edit", "input": {**picture, **wrong}})

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")
    assert town.bills(wrong["prompt"]) == []


def test_the_stream_leads_to_the_stored_picture_and_tells_nothing_twice(town: Town) -> None:
    task = town.order("a film of a cat")
    told = events(town, task)
    *_, (last, done) = told

    assert [data["type"] for _, data in told[:-1]] == ["generation.progress"] * (len(told) - 1)
    assert (done["type"], done["status"]) == ("generation.succeeded", "SUCCESS")
    assert len({number for number, _ in told}) == len(told)
    assert {name: value for name, value in done.items() if name != "type"} == town.record(task)
    assert picture_of(done["response"]["resultUrls"][0])
    assert events(town, task, "an older id") == [(last, done)]
    again = town.http.get("/api/poll-task", params={"taskId": task}, headers={"Last-Event-ID": last})
    assert again.status_code == httpx.codes.NO_CONTENT


def test_the_status_is_pending_and_then_completed(town: Town) -> None:
    task = town.order("a cat with a status")
    first = town.http.get("/api/task-status", params={"taskId": task}).json()
    url = town.picture(task)
    last = town.http.get("/api/task-status", params={"taskId": task}).json()

    assert first["status"] == "pending"
    assert last["status"] == "completed"
    assert last["result"] == {"imageUrl": url}


def test_the_town_is_well(town: Town) -> None:
    health = town.http.get("/api/health").json()
    environment = town.http.get("/api/test-env").json()

    assert [health[part] for part in ("ok", "kieApi", "r2Storage", "shareSystem", "keyUsable")] == [True] * 5
    assert environment["env"]["kieApiKey"] is True
    assert environment["services"] == {"generation": True, "storage": True, "share": True}


def test_who_prefers_to_wait_has_the_picture_in_the_answer(town: Town) -> None:
    prompt = "a cat that is waited for"
    body = {"prompt": prompt, "aspectRatio": "1:1"}
    answer = town.http.post("/api/flux-kontext/generate", json=body, headers={"Prefer": "wait=10"})

    assert answer.headers["preference-applied"] == "wait=10"
    assert answer.json()["status"] == "completed"
    assert answer.json()["url"] == answer.json()["urls"][0] == town.picture(answer.json()["taskId"])
    assert picture_of(answer.json()["url"])


def test_an_order_that_is_sent_again_is_billed_once(town: Town) -> None:
    body, headers = {"prompt": "a cat ordered twice", "model": "nano-banana"}, {"Idempotency-Key": "once-and-no-more"}
    first, second = [town.http.post(NANO, json=body, headers=headers) for _ in range(2)]
    other = town.http.post(NANO, json={**body, "prompt": "a dog"}, headers=headers)

    assert first.json()["taskId"] == second.json()["taskId"]
    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert nano_record(town, first.json()["taskId"])["state"] == "success"
    assert len(town.bills(body["prompt"])) == 1
