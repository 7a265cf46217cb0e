"""A town with sign-in and credits off, and callers who hold tokens for it."""

from collections.abc import Iterator

import pytest

from tests.e2e.community.callers import SECRET, Caller, caller
from tests.e2e.town import Town, running


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The whole town behind Envoy, where a shared secret signs people in."""
    folder = tmp_path_factory.mktemp("community")
    with running(
        folder / "data",
        AUTH_HS256_SECRET=SECRET,
        SANDBOX_GENERATION_SECONDS="1",
        SANDBOX_IMAGE_SIDE="256",
        CORS_ALLOWED_ORIGINS="https://site.example",
    ) as started:
        yield started


@pytest.fixture
def mei(site: Town) -> Iterator[Caller]:
    """Somebody with artworks."""
    with caller(site, "user_mei", name="Mei", picture="https://cdn.example/mei.png") as person:
        yield person


@pytest.fixture
def ren(site: Town) -> Iterator[Caller]:
    """Somebody else."""
    with caller(site, "user_ren", name="Ren") as person:
        yield person


@pytest.fixture
def stranger(site: Town) -> Iterator[Caller]:
    """Nobody in particular."""
    with caller(site) as person:
        yield person
