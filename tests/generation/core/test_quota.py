"""What the daily quota counts: orders that were stored, each once, whatever becomes of them."""

from dataclasses import replace

import pytest

from services.chassis.errors import InvalidArgument, ResourceExhausted
from services.generation.core import Counter, Generations
from services.generation.providers.models import MODELS
from tests.generation.town import DRAFT, Town

CALLER = "203.0.113.9"


def limited(town: Town, orders: int, site: int = 0) -> Generations:
    """The core with a daily quota, that waits for nobody."""
    counter = Counter(town.store, town.bell, town.keys, replace(town.plan, create_wait=0.0))
    return Generations(town.store, town.bell, counter, MODELS, town.pictures, daily_quota=orders, site_orders=site)


async def test_an_order_too_many_is_refused_and_others_are_not(town: Town) -> None:
    generations = limited(town, 1)
    placed = await generations.create(DRAFT, "", [CALLER])
    with pytest.raises(ResourceExhausted) as refusal:
        await generations.create(DRAFT, "", [CALLER])
    other = await generations.create(DRAFT, "", ["203.0.113.10"])

    assert placed.quota is not None
    assert other.quota is not None
    assert (placed.quota.limit, placed.quota.remaining, other.quota.remaining) == (1, 0, 0)
    assert (refusal.value.reason, refusal.value.metadata["quota_limit"]) == ("RATE_LIMIT", "1")


async def test_an_order_that_is_refused_for_itself_does_not_count(town: Town) -> None:
    generations = limited(town, 1)
    for bad in (replace(DRAFT, prompt=" "), replace(DRAFT, model="nobody"), replace(DRAFT, aspect_ratio="7:5")):
        with pytest.raises(InvalidArgument):
            await generations.create(bad, "", [CALLER])

    placed = await generations.create(DRAFT, "", [CALLER])
    assert placed.quota is not None
    assert placed.quota.remaining == 0


async def test_the_same_request_again_is_answered_even_when_the_day_is_used_up(town: Town) -> None:
    generations = limited(town, 1)
    first = await generations.create(DRAFT, "key", [CALLER])
    again = await generations.create(DRAFT, "key", [CALLER])

    assert (again.id, again.joined, again.quota) == (first.id, True, None)


@pytest.mark.parametrize(("orders", "subject"), [(0, CALLER), (1, "")])
async def test_without_a_quota_or_a_subject_nothing_is_counted(town: Town, orders: int, subject: str) -> None:
    generations = limited(town, orders)
    placed = [await generations.create(DRAFT, "", [subject]) for _ in range(3)]

    assert [order.quota for order in placed] == [None, None, None]


@pytest.mark.parametrize("subject", ["x" * 256, "a\x00b"])
async def test_a_subject_that_no_column_takes_is_refused(town: Town, subject: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await limited(town, 1).create(DRAFT, "", [subject])

    assert refusal.value.metadata == {"field": "quota_subjects"}


async def test_more_subjects_than_an_order_may_have_are_refused(town: Town) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await limited(town, 1).create(DRAFT, "", list("abcde"))

    assert refusal.value.metadata == {"field": "quota_subjects"}


async def test_the_same_subject_named_twice_counts_once(town: Town) -> None:
    placed = await limited(town, 2).create(DRAFT, "", [CALLER, CALLER])

    assert placed.quota is not None
    assert placed.quota.remaining == 1


async def test_the_site_bounds_orders_also_of_those_who_have_no_quota(town: Town) -> None:
    generations = limited(town, 0, site=2)
    for subjects in ([CALLER], []):
        await generations.create(DRAFT, "", subjects)
    with pytest.raises(ResourceExhausted) as refusal:
        await generations.create(DRAFT, "", ["203.0.113.10"])

    assert refusal.value.reason == "SITE_QUOTA_EXCEEDED"
    assert "SITE_DAILY_ORDERS" in refusal.value.message
