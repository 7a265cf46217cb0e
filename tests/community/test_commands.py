"""`kawaii counters`, `cache`, `artworks` and `reports` as an operator types them, against the real service."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.chassis.addresses import ListenPort, address_of
from services.community.composition import CommunityService
from tests.community.steps import ANN, BOB, published
from tests.support.ports import free_base
from tests.support.servers import serving

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
Kawaii = Callable[..., Awaitable[str]]


@pytest.fixture
async def kawaii(community: CommunityService) -> AsyncIterator[Kawaii]:
    """Run the command to its end, beside the service; what it wrote."""
    base = free_base()

    async def run(*words: str) -> str:
        environment, pipe = os.environ | {"INTERNAL_PORT_BASE": str(base)}, asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "deploy.cli.main", *words)
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        return (out + err).decode().strip()

    async with serving(*community.mounts(), address=address_of(ListenPort.COMMUNITY, base)):
        yield run


async def test_counts_are_proven_and_read_models_rebuilt(community: CommunityService, kawaii: Kawaii) -> None:
    await published(community)

    assert await kawaii("counters", "reconcile", "--dry-run") == "1 artworks, drift 0"
    assert await kawaii("cache", "rebuild") == "0 keys were written"


async def test_what_was_reported_is_hidden(community: CommunityService, kawaii: Kawaii) -> None:
    artwork_id = (await published(community, title="Rude")).artwork.id
    await community.reactions.report(BOB, artwork_id, "not nice")

    before = await kawaii("reports", "list")
    hidden = await kawaii("artworks", "hide", artwork_id)
    after = await kawaii("artworks", "unhide", f"artworks/{artwork_id}")

    assert f"artworks/{artwork_id}" in before
    assert "not nice" in before
    assert hidden == f"artworks/{artwork_id}: hidden, Rude"
    assert after == f"artworks/{artwork_id}: shown, Rude"
    assert (await community.artworks.get(ANN, artwork_id)).artwork.listed
    assert await kawaii("artworks", "hide", "art_none") == (
        "Error: There is no such artwork. It may have been deleted."
    )
