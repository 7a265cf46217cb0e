"""Chromium before the pages of this folder, which come from another origin than the stack they call."""

from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.stack import Stack
from tests.gateway.pages.browser.conftest import ARGUMENTS, CHROMIUM

PATIENCE_MS = 45_000  # a generation on a busy machine
Open = Callable[..., Page]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing about it."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The origin of the pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(Path(__file__).parent))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")  # its event loop would keep later asyncio tests from having theirs
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    if not CHROMIUM:
        pytest.skip("chromium is not installed: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def files_url(stack: Stack) -> str:
    """Where the stack's pictures begin, as a front end built for it knows them."""
    return f"http://localhost:{stack.http.base_url.port}/files/"


@pytest.fixture
def workspace(browser: Browser, site: str, stack: Stack, files_url: str) -> Iterator[Open]:
    """Opens the workspace; `permanent` is the one prefix of URLs that it takes for its own."""
    pages: list[Page] = []

    def open_(permanent: str = files_url) -> Page:
        page = browser.new_page()
        pages.append(page)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{site}/workspace.html?{urlencode({'api': stack.url, 'permanent': permanent})}")
        return page

    yield open_
    for page in pages:
        page.close()
