"""A person whose subject holds a slash has an id that fits into a path; everybody else's id is their subject."""

from urllib.parse import quote

import pytest
from kawaii.community.v1 import artworks_pb2 as artworkspb
from starlette.requests import Request

from gateway.routes.community import parameters
from gateway.routes.community.parameters import user_id
from gateway.routes.community.rendering import _author


def asked(identifier: str) -> Request:
    return Request({"type": "http", "path_params": {"id": identifier}})


@pytest.mark.parametrize("subject", ["auth0|ann", "ann", "a~b", "山田", "user_2abc", "a%2Fb", "~", "~2f"])
def test_an_id_is_the_subject(subject: str) -> None:
    assert parameters.shown_user_id(subject) == parameters._subject(subject) == subject


@pytest.mark.parametrize("subject", ["oidc/ann", "/", "a//b", "~2F", "a~7Eb", "~/~", "~7E2F", "https://id.example/ann"])
def test_an_author_with_a_slash_is_found_by_the_id_that_is_shown(subject: str) -> None:
    shown = _author(artworkspb.Artwork.Author(user_id=subject))["id"]

    assert "/" not in shown
    assert quote(shown, safe="") == quote(shown)  # whether a front end escapes it or not
    assert user_id(asked(shown)) == subject


def test_no_two_subjects_share_an_id() -> None:
    tried = ["a/b", "a~2Fb", "a~7E2Fb", "a~7Eb", "a~b", "a~~b", "a~/b", "a~7E/b"]

    assert len({parameters.shown_user_id(subject) for subject in tried}) == len(tried)
