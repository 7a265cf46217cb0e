"""Where a front end finds an artwork's pictures, whichever host they have."""

import pytest

from services.chassis.public_files import PublicFiles
from services.community.settings import CommunitySettings
from services.community.wire import Wire

BUCKET = "https://pictures.example"


def wire_of(**given: str) -> Wire:
    settings = CommunitySettings(app_url="https://site.example", **given)  # type: ignore[arg-type] # names differ by test
    return Wire(PublicFiles(settings.files_base_url), settings.origin, has_files_host=settings.has_files_host)


@pytest.mark.parametrize(
    ("key", "thumbnail"),
    [
        ("artworks/original/0a1b.jpeg", f"{BUCKET}/artworks/thumb/0a1b.webp"),
        ("generated/cat.png", f"{BUCKET}/generated/cat.png"),
        ("generated/artworks/original/a.png", f"{BUCKET}/generated/artworks/original/a.png"),
        ("", ""),
    ],
)
def test_where_files_have_a_host_of_their_own_thumbnails_lie_there_too(key: str, thumbnail: str) -> None:
    wire = wire_of(storage_public_base_url=f"{BUCKET}/")

    assert wire.thumbnail(key) == thumbnail


@pytest.mark.parametrize("base", ["", "https://site.example/files"])
def test_where_files_lie_beside_the_site_thumbnails_are_made_when_asked(base: str) -> None:
    thumbnail = wire_of(storage_public_base_url=base).thumbnail("generated/cat.png")

    assert thumbnail.startswith(
        "https://site.example/api/img?u=https%3A%2F%2Fsite.example%2Ffiles%2Fgenerated%2Fcat.png&w="
    )


@pytest.mark.parametrize("base", ["https://site.example.evil.example", "https://site.example:8443"])
def test_a_host_that_only_begins_like_ours_is_another(base: str) -> None:
    assert wire_of(storage_public_base_url=base).thumbnail("generated/a.png") == f"{base}/generated/a.png"
