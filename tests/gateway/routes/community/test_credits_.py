"""Credits and the daily check-in over REST, where they are on and where they are off."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.routes.community.conftest import ANN, PROMPT, Caller, OpenSite, Site

ROUTES = [("GET", "/api/credits/me"), ("GET", "/api/checkin/status"), ("POST", "/api/checkin/checkin")]


@pytest.fixture
async def paying_site(open_site: OpenSite) -> AsyncIterator[Site]:
    """A site where a picture costs three credits, and a new account has four."""
    async with open_site(credits_enabled=True, credits_initial=4) as opened:
        yield opened


@pytest.fixture
async def payer(paying_site: Site) -> AsyncIterator[Caller]:
    """A person with four credits."""
    async with paying_site.caller(ANN) as caller:
        yield caller


async def test_an_order_holds_credits_and_its_picture_takes_them(paying_site: Site, payer: Caller) -> None:
    assert await payer.ok("GET", "/api/credits/me") == {"credits": 4, "held": 0}

    order = await payer.ordered()
    assert await payer.ok("GET", "/api/credits/me") == {"credits": 1, "held": 3}

    await paying_site.end(order["taskId"])
    assert await payer.ok("GET", "/api/credits/me") == {"credits": 1, "held": 0}
    short = await payer.error("POST", "/api/artworks/generate", json={"prompt": PROMPT})
    assert short == (402, "INSUFFICIENT_CREDITS")


async def test_a_check_in_earns_credits_once_a_day(payer: Caller) -> None:
    before = await payer.ok("GET", "/api/checkin/status")

    first = (await payer.http.post("/api/checkin/checkin")).json()
    second = await payer.http.post("/api/checkin/checkin")

    assert before == {
        "todayCheckedIn": False,
        "consecutiveDays": 0,
        "totalCheckins": 0,
        "lastCheckinDate": None,
    }
    assert first == {
        "success": True,
        "message": "Checked in.",
        "data": {"creditsAdded": 12, "consecutiveDays": 1},
    }
    assert (second.status_code, second.json()) == (
        httpx.codes.OK,
        {
            "success": False,
            "message": "You have checked in today already. Come back tomorrow.",
            "data": {"creditsAdded": 0, "consecutiveDays": 1},
        },
    )
    assert await payer.ok("GET", "/api/checkin/status") == {
        "todayCheckedIn": True,
        "consecutiveDays": 1,
        "totalCheckins": 1,
        "lastCheckinDate": "2023-11-15",
    }
    assert await payer.ok("GET", "/api/credits/me") == {"credits": 16, "held": 0}


async def test_credits_that_are_off_ask_for_nothing(ann: Caller) -> None:
    """FE-B asks on every page, and again for ever while the answer is a failure."""
    assert await ann.ok("GET", "/api/credits/me") == {"credits": 0, "held": 0}
    assert await ann.ok("GET", "/api/checkin/status") == {
        "todayCheckedIn": True,
        "consecutiveDays": 0,
        "totalCheckins": 0,
        "lastCheckinDate": None,
    }
    answer = await ann.http.post("/api/checkin/checkin")
    assert (answer.status_code, answer.headers["cache-control"]) == (httpx.codes.OK, "no-store")
    assert answer.json() == {
        "success": False,
        "message": "This site has no credits: nothing costs any, and there is nothing to collect.",
        "data": {"creditsAdded": 0, "consecutiveDays": 0},
    }


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_stranger_has_no_credits(stranger: Caller, method: str, path: str) -> None:
    assert await stranger.error(method, path) == (401, "AUTH_REQUIRED")
