"""A real browser before the whole gateway, whose services move only when the test says so."""

import asyncio
import io
import re
import shutil
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from PIL import Image
from playwright.async_api import Browser, Page, Route, async_playwright

from gateway.app import make_app
from gateway.settings import GatewaySettings
from tests.gateway.shapes import FILES

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [  # docs/testing.md#engines
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PATIENCE_MS = 10_000  # a browser on a busy machine


@pytest.fixture
def png() -> bytes:
    """A small pink picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), "#ffb3cf").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
async def origin(doubles: Any) -> AsyncIterator[str]:
    """The gateway on a real port."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = make_app(GatewaySettings(app_url=origin, storage_public_base_url=FILES), doubles.clients)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield origin
    server.should_exit = True
    await serving


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    if not CHROMIUM:
        pytest.skip("chromium is not installed: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, origin: str, png: bytes) -> AsyncIterator[Page]:
    """The start page, open, with a clock that the test may hurry on; pictures of other hosts are all the pink one."""
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)

    async def picture(route: Route) -> None:
        await route.fulfill(body=png, content_type="image/png")

    await page.route(re.compile(r"^https://"), picture)
    await page.clock.install()
    await page.goto(origin)
    yield page
    assert problems == []
