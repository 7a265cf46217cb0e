"""What the daily quota counts: orders that were stored, each once, whatever becomes of them."""

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from catalogue import MODELS
from services.chassis.errors import FailedPrecondition, InvalidArgument, KawaiiError, ResourceExhausted
from services.generation.core.admission import AdmissionControl
from services.generation.core.generations import Generations
from services.generation.key_pool.pool import Key
from services.generation.model import State
from services.generation.quota import DAY_MS, SITE
from services.generation.stores.tables import generation, quota_use
from tests.generation.builders import brought
from tests.generation.harness import DRAFT, Harness

CALLER = "203.0.113.9"
ACCOUNTS = ("one", "two")


def limited(harness: Harness, orders: int, site: int = 0, wait: float = 0.0) -> Generations:
    """The core with a daily quota, that waits for nobody unless told otherwise."""
    admission = AdmissionControl(
        harness.store, harness.notifier, harness.key_pool, replace(harness.timing, create_wait=wait)
    )
    return Generations(
        harness.store, harness.notifier, admission, MODELS, harness.url_policy, daily_quota=orders, site_orders=site
    )


async def counted(harness: Harness) -> dict[str, int]:
    """How many orders count today, by subject."""
    async with harness.database.read() as connection:
        return {row.subject: row.used for row in await connection.execute(select(quota_use))}


async def test_an_order_too_many_is_refused_and_others_are_not(harness: Harness) -> None:
    generations = limited(harness, 1)
    placed = await generations.create(DRAFT, "", [CALLER])
    with pytest.raises(ResourceExhausted) as refusal:
        await generations.create(DRAFT, "", [CALLER])
    other = await generations.create(DRAFT, "", ["203.0.113.10"])

    assert placed.quota is not None
    assert other.quota is not None
    assert (placed.quota.limit, placed.quota.remaining, other.quota.remaining) == (1, 0, 0)
    assert (refusal.value.reason, refusal.value.metadata["quota_limit"]) == ("RATE_LIMIT", "1")


async def test_an_order_that_is_refused_for_itself_does_not_count(harness: Harness) -> None:
    generations = limited(harness, 1)
    for bad in (replace(DRAFT, prompt=" "), replace(DRAFT, model="nobody"), replace(DRAFT, aspect_ratio="7:5")):
        with pytest.raises(InvalidArgument):
            await generations.create(bad, "", [CALLER])

    placed = await generations.create(DRAFT, "", [CALLER])
    assert placed.quota is not None
    assert placed.quota.remaining == 0


async def test_the_same_request_again_is_answered_even_when_the_day_is_used_up(harness: Harness) -> None:
    generations = limited(harness, 1)
    first = await generations.create(DRAFT, "key", [CALLER])
    again = await generations.create(DRAFT, "key", [CALLER])

    assert (again.id, again.joined, again.quota) == (first.id, True, None)


@pytest.mark.parametrize(("orders", "subject"), [(0, CALLER), (1, "")])
async def test_without_a_quota_or_a_subject_nothing_is_counted(harness: Harness, orders: int, subject: str) -> None:
    generations = limited(harness, orders)
    placed = [await generations.create(DRAFT, "", [subject]) for _ in range(3)]

    assert [order.quota for order in placed] == [None, None, None]


@pytest.mark.parametrize("subject", ["x" * 256, "a\x00b"])
async def test_a_subject_that_no_column_takes_is_refused(harness: Harness, subject: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await limited(harness, 1).create(DRAFT, "", [subject])

    assert refusal.value.metadata == {"field": "quota_subjects"}


async def test_more_subjects_than_an_order_may_have_are_refused(harness: Harness) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await limited(harness, 1).create(DRAFT, "", list("abcde"))

    assert refusal.value.metadata == {"field": "quota_subjects"}


async def test_the_same_subject_named_twice_counts_once(harness: Harness) -> None:
    placed = await limited(harness, 2).create(DRAFT, "", [CALLER, CALLER])

    assert placed.quota is not None
    assert placed.quota.remaining == 1


async def test_the_site_bounds_orders_also_of_those_who_have_no_quota(harness: Harness) -> None:
    generations = limited(harness, 0, site=2)
    for subjects in ([CALLER], []):
        await generations.create(DRAFT, "", subjects)
    with pytest.raises(ResourceExhausted) as refusal:
        await generations.create(DRAFT, "", ["203.0.113.10"])

    assert refusal.value.reason == "SITE_QUOTA_EXCEEDED"
    assert "SITE_DAILY_ORDERS" in refusal.value.message


async def test_an_order_that_is_placed_once_more_counts_like_a_new_one(harness: Harness) -> None:
    generations = limited(harness, 2, site=3)
    ended = [await brought(harness.store, State.FAILED) for _ in range(4)]
    first = await generations.retry(ended[0].id, [CALLER], accept_double_billing=False)
    await generations.retry(ended[1].id, [CALLER], accept_double_billing=False)
    with pytest.raises(ResourceExhausted) as of_caller:
        await generations.retry(ended[2].id, [CALLER], accept_double_billing=False)
    await generations.retry(ended[2].id, accept_double_billing=False)
    with pytest.raises(ResourceExhausted) as of_site:
        await generations.retry(ended[3].id, accept_double_billing=False)

    assert first.quota is not None
    assert (first.quota.limit, first.quota.remaining) == (2, 1)
    assert (of_caller.value.reason, of_site.value.reason) == ("RATE_LIMIT", "SITE_QUOTA_EXCEEDED")
    assert (await harness.store.get(ended[3].id)).state is State.FAILED


async def test_what_may_not_be_placed_once_more_counts_nothing(harness: Harness) -> None:
    generations = limited(harness, 1, site=1)
    ended = await brought(harness.store, State.SUCCEEDED)
    with pytest.raises(FailedPrecondition):
        await generations.retry(ended.id, [CALLER], accept_double_billing=False)

    assert await counted(harness) == {}


async def test_an_order_that_was_sent_away_counts_once_on_each_day_on_which_it_is_made(harness: Harness) -> None:
    """Else orders of many days, for which there was no account, could all be placed on one."""
    generations = limited(harness, 9, site=9, wait=60.0)
    for account in ACCOUNTS:
        await harness.key_pool.refused(await reader(harness, account), 455, None, DRAFT.model)
    for _ in range(2):
        await sent_away(generations)
    same_day = await counted(harness)
    async with harness.database.write() as connection:
        await connection.execute(update(generation).values(update_ms=generation.c.update_ms - DAY_MS))
    await sent_away(generations)

    assert same_day == {CALLER: 1, SITE: 1}
    assert await counted(harness) == {CALLER: 2, SITE: 2}


async def sent_away(generations: Generations) -> None:
    with pytest.raises(KawaiiError, match="Nothing was billed"):
        await generations.create(DRAFT, "key", [CALLER])


async def reader(harness: Harness, account: str) -> Key:
    key = await harness.key_pool.reader(account)
    assert isinstance(key, Key)
    return key
