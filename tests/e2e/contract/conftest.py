"""What the contract tests share: the session's stack, its description of itself, and pictures to work with."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.e2e.contract.described import Description
from tests.e2e.stack import Stack, running
from tests.support.polling import until

Validated = Callable[[httpx.Response], Any]


@pytest.fixture(scope="session")
def description(stack: Stack) -> Description:
    """The routes as the stack describes them."""
    return Description(stack.http.get("/api/openapi.json").raise_for_status().json())


@pytest.fixture(scope="session")
def validated(description: Description) -> Validated:
    """The body of an answer, held against the description."""
    return description.validated


@pytest.fixture(scope="session")
def png() -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "pink").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def upload(stack: Stack, png: bytes) -> str:
    """The URL of an uploaded picture."""
    answer = stack.http.post("/api/upload-image", files={"file": ("pink.png", png, "image/png")})
    return str(answer.raise_for_status().json()["fileUrl"])


@pytest.fixture(scope="session")
def done(stack: Stack) -> tuple[str, str]:
    """A finished 4o order: its taskId and the URL of its picture."""
    task = stack.order("a finished picture for the contract")
    return task, stack.picture(task)


@pytest.fixture(scope="session")
def failed(stack: Stack) -> str:
    """An order that the provider took and could not fulfil: its taskId."""
    task = stack.order("a picture that fails sim:fail")
    until(lambda: True if stack.record(task)["status"] != "GENERATING" else None)
    return task


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a quota, a list of origins, one trusted proxy before it, and debug-env switched on."""
    with running(
        tmp_path_factory.mktemp("guarded") / "data",
        GENERATION_DAILY_QUOTA="3",
        SITE_DAILY_ORDERS="1000",
        RATE_LIMITS_ENABLED="1",
        RATE_LIMIT_SHARES_PER_MINUTE="1",
        CORS_ALLOWED_ORIGINS="https://our.site,http://localhost:3000",
        TRUSTED_HOPS="1",
        DEBUG_ENV_ENABLED="1",
        SANDBOX_GENERATION_SECONDS="0.5",
        SANDBOX_IMAGE_SIDE="64",
    ) as started:
        yield started
