"""A provider's temporary URL becomes a direct link while the provider has the picture; any other URL stays as it is."""

import time

import pytest

from services.chassis.errors import InvalidArgument, NotFound, Unavailable
from services.generation.core.download_links import LINK_SECONDS, DownloadLink
from services.generation.outcomes import Gone, Later
from tests.generation.harness import Harness

URI, FRESH = "https://temporary.example/a.png", "https://fresh.example/a.png"


async def task(harness: Harness) -> str:
    """The id of an order that has a task."""
    created = await harness.order()
    await harness.submit()
    return created.id


@pytest.mark.parametrize("named", [True, False])
async def test_a_temporary_url_becomes_a_direct_link(harness: Harness, *, named: bool) -> None:
    identifier = await task(harness)
    harness.provider.links[URI] = FRESH

    assert (await harness.links.create(URI, identifier if named else "")).uri == FRESH


async def test_the_providers_own_id_will_do(harness: Harness) -> None:
    await task(harness)
    harness.provider.links[URI] = FRESH

    assert (await harness.links.create(URI, "task1")).uri == FRESH


@pytest.mark.parametrize("uri", ["https://example.org/a.png", "http://localhost:8080/files/uploads/a.png"])
async def test_any_other_url_stays_as_it_is(harness: Harness, uri: str) -> None:
    assert await harness.links.create(uri, "") == DownloadLink(uri)


@pytest.mark.parametrize("uri", ["/files/a.png", "", "https://[::1", "http://169.254.169.254/", "http://localhost/a"])
async def test_a_url_that_is_not_public_is_not_handed_back(harness: Harness, uri: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await harness.links.create(uri, "")

    assert caught.value.reason == "URL_NOT_ALLOWED"


async def test_a_generation_that_is_not_there_is_not_found(harness: Harness) -> None:
    with pytest.raises(NotFound) as caught:
        await harness.links.create(URI, "gen_nobody")

    assert caught.value.reason == "TASK_NOT_FOUND"


async def test_a_picture_that_is_gone_is_not_found(harness: Harness) -> None:
    harness.provider.links[URI] = Gone("only records within 14 days")

    with pytest.raises(NotFound) as caught:
        await harness.links.create(URI, "")

    assert caught.value.reason == "RESULT_GONE"


async def test_an_upstream_that_is_away_is_unavailable(harness: Harness) -> None:
    harness.provider.links[URI] = Later("HTTP 502")

    with pytest.raises(Unavailable) as caught:
        await harness.links.create(URI, "")

    assert caught.value.retry_after


async def test_without_a_working_key_there_is_no_link(harness: Harness) -> None:
    for account in ("one", "two"):
        key = await harness.key_pool.reader(account)
        assert key
        await harness.key_pool.refused(key, 401, None)

    with pytest.raises(Unavailable):
        await harness.links.create(URI, "")


async def test_a_link_says_until_when_it_works(harness: Harness) -> None:
    """Twenty minutes (docs/provider.md#download-links); a URL that is returned as it came has no end that we know."""
    harness.provider.links[URI] = FRESH
    before = time.time()
    link = await harness.links.create(URI, "")

    assert before + LINK_SECONDS <= link.expire_ms / 1000 + 0.001 <= time.time() + LINK_SECONDS + 0.001
    assert LINK_SECONDS == 20 * 60
