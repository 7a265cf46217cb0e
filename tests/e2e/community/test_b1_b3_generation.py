"""Ordering an artwork, following it by every id, and the provider's webhook.

See docs/rest.md#artwork-orders.
"""

import httpx
import pytest

from tests.e2e.community.callers import Caller
from tests.e2e.stack import Stack
from tests.storage.samples import picture

pytestmark = pytest.mark.e2e


def test_what_a_published_artwork_was_made_from_is_told_to_its_owner_alone(mei: Caller, stranger: Caller) -> None:
    photo = mei.ok("POST", "/api/artworks/upload", files={"file": ("photo.png", picture(), "image/png")})["originalUrl"]
    with_picture = mei.published("the secret words of Mei", title="A kite", inputImage=photo)
    detail = mei.ok("GET", f"/api/artworks/task-status/{with_picture}")
    assert (detail["prompt"], "originalImageUrl" in detail) == ("the secret words of Mei", True)

    for identifier in (with_picture, detail["taskId"]):
        for route in ("task-status", "kie-result"):
            answer = stranger.http.get(f"/api/artworks/{route}/{identifier}")
            assert answer.status_code == 200
            assert answer.json()["data"]["resultImageUrl"]
            assert "secret words" not in answer.text
            assert detail["originalImageUrl"] not in answer.text


def test_an_order_answers_with_every_id_and_no_picture(mei: Caller) -> None:
    answer = mei.ordered("a heron in the rain", title="Heron")

    assert answer["id"] == answer["taskId"]
    assert answer["artworkId"] == answer["artwork_id"]
    assert answer["artworkId"].startswith("art_")
    assert answer["status"] == "generating"
    assert not {"url", "urls"} & set(answer)


def test_the_draft_shows_the_stored_picture_never_the_upstreams(site: Stack, mei: Caller) -> None:
    order = mei.ordered("a heron at dawn")
    done = mei.finished(order["id"])

    assert done["status"] == "completed"
    assert done["resultImageUrl"].startswith(f"{site.url.replace('127.0.0.1', 'localhost')}/files/")
    assert httpx.get(done["resultImageUrl"]).headers["content-type"].startswith("image/")
    detail = mei.ok("GET", f"/api/artworks/{order['artworkId']}")
    assert detail["url"] == done["resultImageUrl"]
    assert detail["status"] == "draft"
    assert detail["prompt"] == "a heron at dawn"
    assert detail["title"]
    assert detail["slug"]


def test_every_status_route_takes_every_id(site: Stack, mei: Caller) -> None:
    order = mei.ordered("a heron at noon")
    mei.finished(order["id"])
    (bill,) = site.bills("a heron at noon")

    for identifier in (order["taskId"], order["artworkId"], bill["task_id"]):
        assert mei.ok("GET", f"/api/artworks/task-status/{identifier}")["artworkId"] == order["artworkId"]
        status = mei.ok("GET", f"/api/artworks/{identifier}/generation-status")
        assert status["status"] == "completed"
        assert status["startedAt"] <= status["completedAt"]
        assert mei.ok("GET", f"/api/artworks/kie-result/{identifier}")["title"]


def test_the_old_status_path_redirects(mei: Caller) -> None:
    order = mei.ordered("a heron at dusk")
    answer = mei.http.get(f"/api/artworks/kie-status/{order['id']}", follow_redirects=False)

    assert answer.status_code == 302
    assert answer.headers["location"] == f"/api/artworks/task-status/{order['id']}"


def test_a_result_that_is_not_there_is_404(mei: Caller) -> None:
    order = mei.ordered("a slow heron sim:stuck")

    assert mei.code("GET", f"/api/artworks/kie-result/{order['id']}") == (404, "RESULT_NOT_FOUND")
    assert mei.code("GET", "/api/artworks/kie-result/gen_unknown") == (404, "RESULT_NOT_FOUND")
    assert mei.code("GET", "/api/artworks/task-status/gen_unknown") == (404, "TASK_NOT_FOUND")


def test_nobody_else_learns_of_a_task(mei: Caller, ren: Caller, stranger: Caller) -> None:
    order = mei.ordered("a private heron")
    mei.finished(order["id"])

    for other in (ren, stranger):
        assert other.code("GET", f"/api/artworks/task-status/{order['id']}") == (404, "TASK_NOT_FOUND")
        assert other.code("GET", f"/api/artworks/kie-result/{order['id']}") == (404, "RESULT_NOT_FOUND")
    assert ren.code("GET", f"/api/artworks/{order['id']}/generation-status") == (404, "NOT_FOUND")
    assert stranger.code("GET", f"/api/artworks/{order['id']}/generation-status") == (401, "AUTH_REQUIRED")


def test_a_repeated_order_with_its_key_is_one_artwork_and_one_bill(site: Stack, mei: Caller) -> None:
    prompt = "a heron ordered twice"
    headers = {"Idempotency-Key": "heron-1"}
    answers = [
        mei.ok("POST", "/api/artworks/generate", json={"prompt": prompt}, headers=headers)["artworkId"]
        for _ in range(3)
    ]
    mei.finished(answers[0])

    assert len(set(answers)) == 1
    assert len(site.bills(prompt)) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": "   "},
        {"prompt": 7},
        {"prompt": ["a heron"]},
        {"prompt": None},
        {"prompt": "a\u0000b"},
        {"prompt": "a heron", "model": "gpt-9"},
        {"prompt": "a heron", "aspectRatio": "7:5"},
        {"prompt": "a heron", "outputFormat": "bmp"},
        {"prompt": "a heron", "inputImage": "javascript:alert(1)"},
        {"prompt": "a heron", "inputImage": "http://169.254.169.254/latest"},
        {"prompt": "a heron", "title": {"evil": True}},
        {"prompt": "x" * 6000},
    ],
)
def test_a_bad_order_is_refused_and_leaves_nothing(mei: Caller, body: dict[str, object]) -> None:
    before = mei.ok("GET", f"/api/users/{mei.id}/artworks", params={"limit": 100})
    status, code = mei.code("POST", "/api/artworks/generate", json=body)

    assert (status, code) in {(400, "INVALID_INPUT"), (400, "URL_NOT_ALLOWED")}
    assert mei.ok("GET", f"/api/users/{mei.id}/artworks", params={"limit": 100}) == before


def test_a_refused_prompt_fails_the_artwork_with_the_providers_reason(mei: Caller) -> None:
    answer = mei.http.post("/api/artworks/generate", json={"prompt": "a forbidden heron sim:policy"})
    failed = answer.json()

    if answer.status_code == 200:
        failed = mei.finished(failed["data"]["id"])
        assert failed["status"] == "failed"
        assert failed["errorMessage"]
    else:
        assert answer.status_code == 422
        assert failed["code"] == "PROVIDER_REJECTED"


def test_the_seeds_webhook_path_takes_what_kie_sends(stranger: Caller) -> None:
    body = {
        "code": 200,
        "msg": "ok",
        "data": {"taskId": "nobody", "info": {"resultImageUrl": "https://evil.example/x.png"}},
    }
    answer = stranger.http.post("/api/kie/kie-callback", json=body)

    assert answer.status_code == 200
    assert answer.json()["success"] is True
