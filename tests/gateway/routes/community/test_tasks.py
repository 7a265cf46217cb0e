"""The state of an artwork's task over REST, by any of its ids."""

import pytest

from services.community.model import OrderState
from tests.gateway.routes.community.conftest import ORIGIN, PROMPT, Caller, Site

PICTURE = f"{ORIGIN}/files/generated/gen_1/0.png"


async def test_a_task_is_polled_until_its_picture_is_stored(site: Site, ann: Caller) -> None:
    order = await ann.ordered()
    path = f"/api/artworks/task-status/{order['id']}"
    ids = {"id": "gen_1", "taskId": "gen_1", "artworkId": order["artworkId"], "artwork_id": order["artworkId"]}
    asked = {"prompt": PROMPT, "model": "flux-kontext-pro", "aspectRatio": "1:1"}

    waiting = await ann.ok("GET", path)
    await site.end("gen_1")
    done = await ann.ok("GET", path)

    assert waiting == ids | asked | {"status": "generating", "message": "The picture is being made."}
    assert done == ids | asked | {"status": "completed", "resultImageUrl": PICTURE}


@pytest.mark.parametrize(
    ("state", "polled", "status"),
    [(OrderState.FAILED, "failed", "failed"), (OrderState.TIMED_OUT, "failed", "timeout")],
)
async def test_a_task_that_failed_says_why(
    site: Site, ann: Caller, state: OrderState, polled: str, status: str
) -> None:
    order = await ann.ordered()
    await site.end("gen_1", state, "WHY")

    task = await ann.ok("GET", f"/api/artworks/task-status/{order['id']}")
    mine = await ann.ok("GET", f"/api/artworks/{order['artworkId']}/generation-status")

    assert (task["status"], task["errorMessage"]) == (polled, "Because of WHY.")
    assert (mine["status"], mine["errorMessage"]) == (status, "Because of WHY.")


async def test_every_route_takes_every_id(site: Site, ann: Caller) -> None:
    artwork = await site.draft(ann)

    for identifier in ("gen_1", "task_gen_1", artwork):
        assert (await ann.ok("GET", f"/api/artworks/task-status/{identifier}"))["artworkId"] == artwork
        result = await ann.ok("GET", f"/api/artworks/kie-result/{identifier}")
        assert (result["resultImageUrl"], result["artwork"]["id"]) == (PICTURE, artwork)
        assert await ann.ok("GET", f"/api/artworks/{identifier}/generation-status") == {
            "id": artwork,
            "status": "completed",
            "taskId": "gen_1",
            "startedAt": site.clock.now,
            "completedAt": site.clock.now,
            "errorMessage": None,
        }


async def test_the_old_path_of_the_status_leads_to_the_new_one(stranger: Caller) -> None:
    answer = await stranger.http.get("/api/artworks/kie-status/gen_1")

    assert (answer.status_code, answer.headers["location"]) == (302, "/api/artworks/task-status/gen_1")


async def test_a_result_that_is_not_there_is_not_found(ann: Caller) -> None:
    order = await ann.ordered()

    for identifier in (order["id"], "gen_none"):
        assert await ann.error("GET", f"/api/artworks/kie-result/{identifier}") == (404, "RESULT_NOT_FOUND")
    assert await ann.error("GET", "/api/artworks/task-status/gen_none") == (404, "TASK_NOT_FOUND")
    assert await ann.error("GET", "/api/artworks/gen_none/generation-status") == (404, "NOT_FOUND")


async def test_a_task_of_a_draft_is_its_owners(site: Site, ann: Caller, bob: Caller, stranger: Caller) -> None:
    await site.draft(ann)

    for other in (bob, stranger):
        assert await other.error("GET", "/api/artworks/task-status/gen_1") == (404, "TASK_NOT_FOUND")
        assert await other.error("GET", "/api/artworks/kie-result/gen_1") == (404, "RESULT_NOT_FOUND")
    assert await bob.error("GET", "/api/artworks/gen_1/generation-status") == (404, "NOT_FOUND")
    assert await stranger.error("GET", "/api/artworks/gen_1/generation-status") == (401, "AUTH_REQUIRED")


async def test_what_a_published_artwork_was_made_from_is_told_to_its_owner_alone(
    site: Site, ann: Caller, stranger: Caller
) -> None:
    artwork = await site.draft(ann, title="Lanterns")
    await ann.ok("POST", f"/api/artworks/{artwork}/publish")

    for route in ("task-status", "kie-result"):
        answer = await stranger.http.get(f"/api/artworks/{route}/{artwork}")
        assert answer.json()["data"]["resultImageUrl"] == PICTURE
        assert PROMPT not in answer.text
    hidden = await stranger.error("GET", f"/api/artworks/{artwork}/generation-status")
    assert hidden == (401, "AUTH_REQUIRED")
