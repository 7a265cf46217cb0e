"""What callers do with generations: create, retry within the daily quotas, cancel, forget, watch."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from catalogue import MODELS, Model
from services.chassis import context
from services.chassis.clock import DAY_MS
from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    KawaiiError,
    NotFound,
    ResourceExhausted,
)
from services.generation.core.admission import ANSWER_SECONDS, AdmissionControl
from services.generation.core.generations import Generations, sent_as
from services.generation.key_pool.pool import Key
from services.generation.model import FINAL, Draft, Event, Generation, Placed, State
from services.generation.outcomes import Accepted, Ambiguous, Completed, NotSent, Outcome, Refused, Rejected
from services.generation.ports import Page
from services.generation.quota import SITE
from services.generation.stores.tables import generation, quota_use
from services.generation.stores.tables import generation as table
from tests.generation.builders import brought
from tests.generation.harness import DRAFT, Connected, Harness, Submit, answering, unreachable
from tests.generation.waiting import reached
from tests.support.polling import eventually

LONG_WAIT = 60.0


def patient(harness: Harness) -> Harness:
    """Waits for the answer as long as it takes."""
    return replace(harness, timing=replace(harness.timing, create_wait=LONG_WAIT))


async def test_an_accepted_order_comes_back_running(harness: Harness) -> None:
    harness = patient(harness)
    async with harness.running():
        created = (await harness.generations.create(DRAFT, "")).generation

    assert created.state not in {State.READY, State.DIALING, State.SENDING}
    assert created.task_id == "task1"
    assert [submit.draft.prompt for submit in harness.provider.submits] == ["a cat"]


async def test_a_definite_rejection_is_an_error_and_a_failed_row(harness: Harness) -> None:
    harness = patient(harness)
    harness.provider.scripts.append(answering(Rejected(422, "The prompt is not allowed.")))
    async with harness.running():
        with pytest.raises(FailedPrecondition) as caught:
            await harness.generations.create(DRAFT, "key")

    error = caught.value
    kept = await harness.store.get(error.metadata["generation"])
    assert (error.reason, error.message) == ("PROVIDER_REJECTED", "The prompt is not allowed.")
    assert error.metadata["provider_code"] == "422"
    assert kept.state is State.FAILED
    assert kept.failure
    assert kept.failure.provider_code == 422


async def test_a_rejection_is_told_again_to_who_repeats_the_request(harness: Harness) -> None:
    harness = patient(harness)
    harness.provider.scripts.append(answering(Rejected(422, "No.")))
    async with harness.running():
        for _ in range(2):
            with pytest.raises(FailedPrecondition):
                await harness.generations.create(DRAFT, "key")

    assert len(harness.provider.submits) == 1


async def test_a_slow_provider_does_not_hold_the_caller(harness: Harness) -> None:
    answer = asyncio.Event()

    async def slow(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await answer.wait()
        return Accepted("task1")

    harness.provider.scripts.append(slow)
    async with harness.running():
        created = (await harness.generations.create(DRAFT, "")).generation
        answer.set()
        running = await reached(harness.store, created.id, State.RUNNING)

    assert created.state in {State.READY, State.DIALING, State.SENDING}
    assert running.task_id == "task1"
    assert len(harness.provider.submits) == 1


async def test_an_order_without_a_submitter_is_still_accepted(harness: Harness) -> None:
    created = (await harness.generations.create(DRAFT, "")).generation

    assert created.state is State.READY
    assert await harness.store.get(created.id) == created


async def test_an_ambiguous_answer_is_accepted_and_pending(harness: Harness) -> None:
    harness = patient(harness)
    harness.provider.scripts.append(answering(Ambiguous("HTTP 524 without JSON")))
    async with harness.running():
        created = (await harness.generations.create(DRAFT, "")).generation

    assert created.state is State.AMBIGUOUS


async def test_a_request_that_is_repeated_while_it_runs_joins(harness: Harness) -> None:
    harness = patient(harness)
    async with harness.running():
        created = await asyncio.gather(*(harness.generations.create(DRAFT, "key") for _ in range(10)))

    assert len({placed.generation.id for placed in created}) == 1
    assert len(harness.provider.submits) == 1


async def test_a_request_id_cannot_be_used_for_another_order(harness: Harness) -> None:
    await harness.order("key")

    with pytest.raises(AlreadyExists):
        await harness.generations.create(Draft("gpt4o-image", "a dog"), "key")

    assert len(await harness.store.list(Page(10))) == 1


@pytest.mark.parametrize("request_id", ["x" * 256, "a\x00b"])
async def test_an_odd_request_id_is_refused(harness: Harness, request_id: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await harness.generations.create(DRAFT, request_id)

    assert caught.value.metadata == {"field": "request_id"}
    assert await harness.store.list(Page(10)) == []


async def test_a_bad_order_leaves_nothing(harness: Harness) -> None:
    with pytest.raises(InvalidArgument):
        await harness.generations.create(Draft("gpt4o-image", " "), "")

    assert await harness.store.list(Page(10)) == []


@pytest.mark.parametrize("outcome", [Refused(402, "no credit"), Refused(429, "slow"), Refused(401, "key")])
async def test_an_order_that_one_account_refuses_goes_to_the_other(harness: Harness, outcome: Refused) -> None:
    harness = patient(harness)
    harness.provider.scripts.append(answering(outcome))
    async with harness.running():
        created = (await harness.generations.create(DRAFT, "")).generation

    assert created.task_id
    assert len({submit.account for submit in harness.provider.submits}) == 2


async def test_an_order_that_was_not_sent_is_tried_again(harness: Harness) -> None:
    harness.provider.scripts.append(unreachable(NotSent("ConnectError")))
    created = await harness.order()
    await harness.submit()
    waiting = await harness.store.get(created.id)
    await harness.let_time_pass()
    await harness.submit()

    assert (waiting.state, harness.provider.scripts) == (State.READY, harness.provider.scripts)
    assert (await harness.store.get(created.id)).state is State.RUNNING
    assert len(harness.provider.submits) == 1


async def test_tries_are_counted_so_that_waits_grow(harness: Harness) -> None:
    created = await harness.order()
    for _ in range(3):
        harness.provider.scripts.append(unreachable(NotSent("ConnectError")))
        await harness.submit()
        await harness.let_time_pass()

    assert (await harness.store.get(created.id)).tries == 3


async def test_an_order_waits_while_no_account_is_free(harness: Harness) -> None:
    created = await harness.order()
    for account in ("one", "two"):
        key = await harness.key_pool.reader(account)
        assert key
        await harness.key_pool.refused(key, 402, None)
    await harness.submit()
    waiting = await harness.store.get(created.id)

    assert (waiting.state, waiting.tries) == (State.READY, 0)
    assert harness.provider.submits == []


async def test_an_order_that_nobody_takes_in_time_expires(harness: Harness) -> None:
    created = await harness.order()
    harness.timing = replace(harness.timing, submit_within=0.0)
    await asyncio.sleep(0.002)
    await harness.submit()
    ended = await harness.store.get(created.id)

    assert ended.state is State.EXPIRED
    assert ended.failure
    assert ended.failure.reason == "EXPIRED"
    assert harness.provider.submits == []


async def test_every_attempt_has_a_token_of_its_own(harness: Harness) -> None:
    harness.provider.scripts.append(answering(Refused(402, "no credit")))
    await harness.order()
    await harness.submit()
    await harness.submit()

    tokens = [submit.token for submit in harness.provider.submits]
    assert len(set(tokens)) == 2
    for token in tokens:
        attempt_id, _, secret = token.partition(".")
        attempt = await harness.store.attempt(attempt_id)
        assert attempt
        assert len(secret) >= 32
        assert secret not in repr(attempt)


async def test_a_create_waits_no_longer_than_its_caller(harness: Harness) -> None:
    """A caller who is told DEADLINE_EXCEEDED has an order it does not know of."""
    token = context.deadline.set(time.monotonic() + ANSWER_SECONDS + 0.05)
    async with asyncio.timeout(LONG_WAIT / 2):
        created = (await patient(harness).generations.create(DRAFT, "")).generation
    context.deadline.reset(token)

    assert created.state is State.READY


async def test_whoever_watches_what_stands_still_reads_it_seldom(harness: Harness) -> None:
    watched, other, reads = await harness.order(), await harness.order(), [0]
    read = harness.store.get

    async def counted(identifier: str) -> Generation:
        reads[0] += identifier == watched.id
        return await read(identifier)

    harness.store.get = counted  # type: ignore[method-assign] # counted
    watching = asyncio.create_task(_each(harness.generations.watch(watched.id)))
    for _ in range(50):
        await harness.store.get(other.id)
    watching.cancel()

    assert 0 < reads[0] < 10


async def _each(generations: AsyncIterator[Generation]) -> None:
    async for _ in generations:
        pass


async def test_a_digest_stands_for_the_order_it_was_made_of(harness: Harness) -> None:
    """A picture given in the request is stored anew each time, so the order has another URL each time."""
    order = replace(DRAFT, image_uris=("https://example.org/first.png",))
    first = await harness.generations.create(order, "key", request_digest="digest")
    again = await harness.generations.create(
        replace(order, image_uris=("https://example.org/b.png",)), "key", "", "digest"
    )

    assert (again.generation.id, again.joined) == (first.generation.id, True)
    assert again.generation.draft.image_uris == order.image_uris
    with pytest.raises(AlreadyExists):
        await harness.generations.create(order, "key", request_digest="another")
    with pytest.raises(InvalidArgument):
        await harness.generations.create(order, "key", request_digest="x" * 256)


def test_the_order_of_its_parameters_makes_no_other_order() -> None:
    one, other = (Draft("m", "p", parameters=dict(given)) for given in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))

    assert sent_as(one).hash == sent_as(other).hash
    assert sent_as(one).hash != sent_as(replace(one, parameters={"a": 1})).hash


async def repeated(harness: Harness, draft: Draft, models: Mapping[str, Model] = MODELS) -> Placed:
    """The same request id again, at a process that may have another table of models."""
    admission = AdmissionControl(
        harness.store, harness.notifier, harness.key_pool, replace(harness.timing, create_wait=0.0)
    )
    return await Generations(harness.store, harness.notifier, admission, models, harness.url_policy).create(
        draft, "key"
    )


OTHER_DEFAULTS = {**MODELS, DRAFT.model: replace(MODELS[DRAFT.model], aspect_ratios=("2:3", "1:1", "3:2"))}

STRICTER = {**MODELS, DRAFT.model: replace(MODELS[DRAFT.model], max_prompt_length=1)}

NONE_OF_IT = {name: spec for name, spec in MODELS.items() if name != DRAFT.model}


@pytest.mark.parametrize("models", [OTHER_DEFAULTS, STRICTER, NONE_OF_IT], ids=["defaults", "stricter", "model gone"])
async def test_a_repeated_request_finds_its_first_whatever_is_checked_today(
    harness: Harness, models: Mapping[str, Model]
) -> None:
    first = await repeated(harness, DRAFT)
    again = await repeated(harness, DRAFT, models)

    assert (again.generation.id, again.joined) == (first.generation.id, True)
    assert again.generation.draft == first.generation.draft


async def test_a_repeated_request_is_told_from_another_by_what_was_sent(harness: Harness) -> None:
    """To name the default is to send something else, and the answer names the first order."""
    first = await repeated(harness, DRAFT)
    with pytest.raises(AlreadyExists) as caught:
        await repeated(harness, replace(DRAFT, aspect_ratio=first.generation.draft.aspect_ratio))

    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert caught.value.metadata == {"generation": first.generation.id}


async def test_a_repeated_request_needs_no_storage(harness: Harness) -> None:
    """Its pictures were looked up the first time."""
    draft = replace(DRAFT, image_uris=("https://somewhere.example/a.png",))
    await repeated(harness, draft)
    await repeated(harness, draft)

    assert harness.storage.checked == ["https://somewhere.example/a.png"]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"image_uris": ("https://moved.example/files/uploads/1-a.png",)}, True),
        ({"prompt": "a dog"}, False),
        ({"aspect_ratio": "3:2"}, False),
        ({"parameters": {"nVariants": 4}}, False),
        ({"image_uris": ()}, False),
    ],
)
async def test_an_order_of_an_older_version_is_found_by_its_fields(
    harness: Harness, change: dict[str, Any], *, same: bool
) -> None:
    """Its row knows no hash of what was sent, and our address and defaults may have changed since."""
    draft = replace(DRAFT, image_uris=("http://localhost:8080/files/uploads/1-a.png",))
    first = await repeated(harness, draft)
    async with harness.database.write() as connection:
        await connection.execute(update(table).values(sent_hash="", request_hash="of other defaults"))

    if same:
        again = await repeated(harness, replace(draft, **change), OTHER_DEFAULTS)
        assert again.generation.id == first.generation.id
    else:
        with pytest.raises(AlreadyExists):
            await repeated(harness, replace(draft, **change), OTHER_DEFAULTS)


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

    assert (again.generation.id, again.joined, again.quota) == (first.generation.id, True, None)


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


URI = "https://temporary.example/a.png"


async def test_a_canceled_order_is_never_submitted(harness: Harness) -> None:
    created = await harness.order()
    canceled = await harness.generations.cancel(created.id)
    await harness.let_leases_end()
    await harness.submit()

    assert canceled.state is State.CANCELED
    assert canceled.complete_ms
    assert harness.provider.submits == []
    assert (await harness.store.get(created.id)).state is State.CANCELED


async def test_a_cancel_while_the_line_opens_stops_the_first_byte(harness: Harness) -> None:
    created = await harness.order()

    async def slow_to_connect(_submit: Submit, connected: Connected) -> Outcome:
        await harness.generations.cancel(created.id)
        await connected()
        return Accepted("task1")

    harness.provider.scripts.append(slow_to_connect)
    async with harness.running():
        await reached(harness.store, created.id, State.CANCELED)

    assert harness.provider.submits == []


@pytest.mark.parametrize("outcome", [Accepted("task1"), Refused(429, "slow"), Rejected(422, "no"), Ambiguous("reset")])
async def test_a_cancel_after_the_first_byte_stays_whatever_the_answer(harness: Harness, outcome: Outcome) -> None:
    created = await harness.order()
    answered = asyncio.Event()

    async def overtaken(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await harness.generations.cancel(created.id)
        answered.set()
        return outcome

    harness.provider.scripts.append(overtaken)
    async with harness.running():
        await answered.wait()
    await harness.let_leases_end()
    await harness.submit()
    now = await harness.store.get(created.id)

    assert now.state is State.CANCELED
    assert len(harness.provider.submits) == 1
    assert now.task_id == ("task1" if isinstance(outcome, Accepted) else "")


async def test_a_result_of_a_canceled_order_is_noted_and_not_copied(harness: Harness) -> None:
    created = await harness.order()
    await harness.submit()
    await harness.generations.cancel(created.id)
    harness.provider.records["task1"] = Completed((URI,))

    async def noted() -> bool:
        return bool((await harness.store.get(created.id)).outputs)

    async with harness.running():
        await harness.callback("task1")
        await eventually(noted)
    now = await harness.store.get(created.id)

    assert now.state is State.CANCELED
    assert [(output.source_uri, output.key) for output in now.outputs] == [(URI, "")]
    assert harness.storage.asked == []


async def test_a_cancel_can_be_repeated(harness: Harness) -> None:
    created = await harness.order()
    first = await harness.generations.cancel(created.id)

    assert await harness.generations.cancel(created.id) == first


@pytest.mark.parametrize("state", sorted(FINAL - {State.CANCELED}))
async def test_what_has_ended_cannot_be_canceled(harness: Harness, state: State) -> None:
    ended = await brought(harness.store, state)

    with pytest.raises(FailedPrecondition):
        await harness.generations.cancel(ended.id)

    assert await harness.store.get(ended.id) == ended


async def test_nothing_can_be_canceled_that_is_not_there(harness: Harness) -> None:
    with pytest.raises(NotFound):
        await harness.generations.cancel("gen_nobody")


async def test_an_ended_generation_forgets_its_words_and_keeps_its_record(harness: Harness) -> None:
    created = await harness.order()
    await harness.generations.cancel(created.id)

    for _ in range(2):
        await harness.generations.forget(created.id)
    found = await harness.store.get(created.id)

    assert created.draft.prompt
    assert (found.draft.prompt, found.draft.image_uris) == ("", ())
    assert (found.draft.model, found.state) == (created.draft.model, State.CANCELED)
    assert created.draft.prompt not in str(await harness.store.events(0, 100))


async def test_words_that_are_still_needed_stay(harness: Harness) -> None:
    created = await harness.order()

    with pytest.raises(FailedPrecondition) as refused:
        await harness.generations.forget(created.id)

    assert refused.value.reason == "NOT_ENDED"
    assert (await harness.store.get(created.id)).draft == created.draft


async def test_what_was_forgotten_cannot_be_ordered_again(harness: Harness) -> None:
    created = await harness.order()
    harness.provider.scripts.append(answering(Rejected(422, "no")))
    await harness.submit()
    await harness.generations.forget(created.id)

    with pytest.raises(FailedPrecondition) as refused:
        await harness.generations.retry(created.id, accept_double_billing=True)

    assert refused.value.reason == "NOT_RETRYABLE"


async def test_nobody_forgets_what_is_not_there(harness: Harness) -> None:
    with pytest.raises(NotFound):
        await harness.generations.forget("gen_nobody")


async def test_a_watcher_sees_every_change_until_the_end(harness: Harness) -> None:
    created = await harness.order()
    seen: list[State] = []

    async def watch() -> None:
        seen.extend([generation.state async for generation in harness.generations.watch(created.id)])

    async with asyncio.timeout(20):
        watching = asyncio.create_task(watch())
        harness.provider.records["task1"] = Completed((URI,))
        async with harness.running():
            await watching

    assert seen[-1] is State.SUCCEEDED
    assert len(seen) == len(set(seen))


async def test_a_watcher_of_something_that_ended_sees_it_once(harness: Harness) -> None:
    created = await harness.order()
    canceled = await harness.generations.cancel(created.id)

    assert [generation async for generation in harness.generations.watch(created.id)] == [canceled]


async def test_a_watcher_of_another_process_sees_changes_too(harness: Harness) -> None:
    """Its notifier is never notified; it polls."""
    created = await harness.order()
    other_process = harness.generations
    watching = other_process.watch(created.id)
    first = await anext(watching)
    harness.notifier.notify = lambda *_topics: None  # type: ignore[method-assign] # another process's notifier
    await harness.generations.cancel(created.id)
    async with asyncio.timeout(20):
        second = await anext(watching)
    await watching.aclose()  # type: ignore[attr-defined] # a generator in fact

    assert [first.state, second.state] == [State.READY, State.CANCELED]


async def test_nothing_to_watch_is_not_found(harness: Harness) -> None:
    with pytest.raises(NotFound):
        await anext(harness.generations.watch("gen_nobody"))


async def test_events_are_told_as_they_come(harness: Harness) -> None:
    events: list[Event] = []

    async def consume() -> None:
        async for event in harness.generations.events(0):
            events.append(event)
            if event.generation.state is State.CANCELED:
                return

    async with asyncio.timeout(20):
        consuming = asyncio.create_task(consume())
        created = await harness.order()
        await harness.generations.cancel(created.id)
        await consuming

    assert [event.generation.state for event in events] == [State.READY, State.CANCELED]
