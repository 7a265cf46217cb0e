"""A stack with sign-in and credits off, and callers who hold tokens for it."""

from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.community.callers import SECRET, SITE, Caller, caller
from tests.e2e.site.conftest import Quiet
from tests.e2e.stack import Stack, running

PAGES = Path(__file__).parent / "site"


@pytest.fixture(scope="session")
def pages() -> Iterator[str]:
    """The origin of the front end's pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(PAGES))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, pages: str) -> Iterator[Stack]:
    """The whole stack behind Envoy, where a shared secret signs people in and two origins may call with credentials."""
    folder = tmp_path_factory.mktemp("community")
    with running(
        folder / "data",
        AUTH_HS256_SECRET=SECRET,
        SANDBOX_GENERATION_SECONDS="1",
        SANDBOX_IMAGE_SIDE="256",
        CORS_ALLOWED_ORIGINS=f"{SITE},{pages}",
    ) as started:
        yield started


@pytest.fixture
def mei(site: Stack) -> Iterator[Caller]:
    """Somebody with artworks."""
    with caller(site, "user_mei", name="Mei", picture="https://cdn.example/mei.png") as person:
        yield person


@pytest.fixture
def ren(site: Stack) -> Iterator[Caller]:
    """Somebody else."""
    with caller(site, "user_ren", name="Ren") as person:
        yield person


@pytest.fixture
def stranger(site: Stack) -> Iterator[Caller]:
    """Nobody in particular."""
    with caller(site) as person:
        yield person
