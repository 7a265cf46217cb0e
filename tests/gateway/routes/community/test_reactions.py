"""Likes and favourites over REST: set, unset, and read, singly and in batches."""

from typing import Any

import pytest

from tests.gateway.routes.community.conftest import Caller

NONE = {
    "like_count": 0,
    "fav_count": 0,
    "user_state": {"liked": False, "faved": False},
    "isLiked": False,
    "is_favorite": False,
}


async def test_a_like_counts_once_until_it_is_taken_back(ann: Caller, bob: Caller) -> None:
    path = f"/api/artworks/{await ann.saved()}/like"
    liked = NONE | {"like_count": 1, "user_state": {"liked": True, "faved": False}, "isLiked": True}

    assert [await bob.ok("POST", path), await bob.ok("POST", path)] == [liked, liked]
    assert [await bob.ok("DELETE", path), await bob.ok("DELETE", path)] == [NONE, NONE]


async def test_a_favourite_counts_once_until_it_is_taken_back(ann: Caller, bob: Caller) -> None:
    path = f"/api/artworks/{await ann.saved()}/favorite"
    kept = NONE | {"fav_count": 1, "user_state": {"liked": False, "faved": True}, "is_favorite": True}

    assert [await bob.ok("POST", path), await bob.ok("POST", path)] == [kept, kept]
    assert [await bob.ok("DELETE", path), await bob.ok("DELETE", path)] == [NONE, NONE]


async def test_a_state_tells_counts_to_everybody_and_reactions_to_their_owner(
    ann: Caller, bob: Caller, stranger: Caller
) -> None:
    path = f"/api/artworks/{await ann.saved()}"
    liked = await bob.ok("POST", f"{path}/like")

    assert await bob.ok("GET", f"{path}/state") == liked
    assert await stranger.ok("GET", f"{path}/state") == NONE | {"like_count": 1}


async def test_states_in_a_batch_are_a_map_with_zeros_for_what_the_viewer_may_not_see(ann: Caller, bob: Caller) -> None:
    draft, shown = await ann.saved("draft", "save-draft"), await ann.saved("shown")
    liked = await bob.ok("POST", f"/api/artworks/{shown}/like")

    states = await bob.ok("POST", "/api/artworks/batch/state", json={"artworkIds": [draft, shown, "art_none", shown]})

    assert states == {draft: NONE, shown: liked, "art_none": NONE}


async def test_hot_data_tells_score_level_and_rank(ann: Caller, bob: Caller, stranger: Caller) -> None:
    draft, first, second = await ann.saved("draft", "save-draft"), await ann.saved("a"), await ann.saved("b")
    await bob.ok("POST", f"/api/artworks/{first}/favorite")
    await bob.ok("POST", f"/api/artworks/{second}/like")
    hot = {
        first: {
            "id": first, "hot_score": 2, "hot_level": "new", "rank": 1, "like_count": 0, "favorite_count": 1,
        },
        second: {
            "id": second, "hot_score": 1, "hot_level": "new", "rank": 2, "like_count": 1, "favorite_count": 0,
        },
    }  # fmt: skip

    ids = {"artworkIds": [draft, first, second, "art_none"]}
    assert await stranger.ok("POST", "/api/artworks/batch/hot-data", json=ids) == hot
    assert await stranger.ok("GET", f"/api/artworks/{first}/hot-data") == hot[first]
    assert await stranger.error("GET", f"/api/artworks/{draft}/hot-data") == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["state", "hot-data"])
@pytest.mark.parametrize("given", [[], "art_1", [7], ["a/b"], [f"art_{number}" for number in range(201)]])
async def test_a_batch_of_no_or_too_many_or_wrong_ids_is_refused(stranger: Caller, path: str, given: Any) -> None:
    refusal = await stranger.error("POST", f"/api/artworks/batch/{path}", json={"artworkIds": given})

    assert refusal == (400, "INVALID_INPUT")


@pytest.mark.parametrize("reaction", ["like", "favorite"])
async def test_who_may_react(ann: Caller, bob: Caller, stranger: Caller, reaction: str) -> None:
    draft, shown = await ann.saved("draft", "save-draft"), await ann.saved("shown")

    assert await ann.error("POST", f"/api/artworks/{draft}/{reaction}") == (409, "NOT_PUBLISHED")
    for hidden in (draft, "art_none"):
        assert await bob.error("POST", f"/api/artworks/{hidden}/{reaction}") == (404, "NOT_FOUND")
    for method in ("POST", "DELETE"):
        assert await stranger.error(method, f"/api/artworks/{shown}/{reaction}") == (401, "AUTH_REQUIRED")
