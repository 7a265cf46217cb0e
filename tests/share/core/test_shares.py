"""What the core refuses, links and publishes. Page tokens of an earlier release lead on: pages are open in browsers."""

from collections.abc import Callable

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.paging import number_token, sequence_of
from services.share.core import validation
from services.share.core.shares import Shares, require_fitting
from services.share.model import Facet, NewShare, Policy, Share, View
from services.share.ports import ShareStore
from tests.share.conftest import FILES, START_MS

Make = Callable[..., Share]
one_engine = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


@pytest.fixture
def shares(store: ShareStore) -> Shares:
    return Shares(store, Policy.ALL, own_key=FILES.key, clock=lambda: START_MS)


@pytest.mark.parametrize(
    ("view", "token"),
    [(View(Policy.TEXT_TO_IMAGE), "1234550964"), (View(Policy.ALL, Facet.STYLE, "ink|é"), "1234552869")],
)
def test_a_token_of_an_earlier_release_still_leads_on(view: View, token: str) -> None:
    assert number_token(str(view), 12345) == token
    assert sequence_of(str(view), token) == 12345


def test_a_batch_that_does_not_fit_into_one_answer_is_refused_and_says_what_would() -> None:
    require_fitting(3, 3)

    with pytest.raises(InvalidArgument, match="at most 2 of them") as refused:
        require_fitting(2, 3)
    assert refused.value.metadata["field"] == "names"


@one_engine
async def test_the_links_of_a_block_lead_to_its_shares(shares: Shares, store: ShareStore, make: Make) -> None:
    kept = [await store.insert(make(), "d") for _ in range(2)]
    first, second = await shares.links(0), await shares.links(1)

    assert ([link.id for link in first.links], first.blocks) == ([share.id for share in kept], 1)
    assert (second.links, second.blocks) == ((), 1)
    with pytest.raises(InvalidArgument):
        await shares.links(-1)


@one_engine
async def test_a_published_share_is_in_the_list_of_published_ones_and_counted_there(
    store: ShareStore, make: Make
) -> None:
    kept = await store.insert(make(original_ref=""), "d")
    for _ in range(2):
        await store.publish(kept.id, START_MS)

    for policy in (Policy.PUBLISHED, Policy.TEXT_TO_IMAGE):
        assert [share.id for share in await store.page(View(policy), limit=10)] == [kept.id]
        assert await store.total(View(policy)) == 1
    assert await store.reconcile() == 0


@one_engine
async def test_a_url_that_leads_inside_is_refused_before_anything_is_kept(shares: Shares, store: ShareStore) -> None:
    uris = {"generated_uri": "https://a.example/a.png", "original_uri": "https://a.example/b.png"}
    for field in uris:
        with pytest.raises(InvalidArgument) as refused:
            await shares.create(NewShare(**uris | {field: "http://127.0.0.1/a.png"}))
        assert (refused.value.reason, refused.value.metadata["field"]) == ("URL_NOT_ALLOWED", f"share.{field}")

    assert await store.total(View(Policy.ALL)) == 0


def test_so_many_shares_can_be_left_out_and_no_more() -> None:
    assert [validation.skip(value) for value in (0, validation.MAX_SKIP)] == [0, validation.MAX_SKIP]
    for value in (-1, validation.MAX_SKIP + 1):
        with pytest.raises(InvalidArgument):
            validation.skip(value)
