"""A create waits a moment for the provider's definite answer: it tells a refusal, and never more than it knows."""

import asyncio
import time
from dataclasses import replace

import pytest

from services.chassis import context
from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from services.generation.answers import Accepted, Ambiguous, NotSent, Outcome, Refused, Rejected
from services.generation.core.counter import ANSWER_SECONDS
from services.generation.model import Draft, State
from services.generation.ports import Page
from tests.generation.town import DRAFT, Connected, Submit, Town, answering, unreachable
from tests.generation.waiting import reached

LONG_WAIT = 60.0


def patient(town: Town) -> Town:
    """Waits for the answer as long as it takes."""
    return replace(town, plan=replace(town.plan, create_wait=LONG_WAIT))


async def test_an_accepted_order_comes_back_running(town: Town) -> None:
    town = patient(town)
    async with town.running():
        created = await town.generations.create(DRAFT, "")

    assert created.state not in {State.READY, State.DIALING, State.SENDING}
    assert created.task_id == "task1"
    assert [submit.draft.prompt for submit in town.provider.submits] == ["a cat"]


async def test_a_definite_rejection_is_an_error_and_a_failed_row(town: Town) -> None:
    town = patient(town)
    town.provider.scripts.append(answering(Rejected(422, "The prompt is not allowed.")))
    async with town.running():
        with pytest.raises(FailedPrecondition) as caught:
            await town.generations.create(DRAFT, "key")

    error = caught.value
    kept = await town.store.get(error.metadata["generation"])
    assert (error.reason, error.message) == ("PROVIDER_REJECTED", "The prompt is not allowed.")
    assert error.metadata["provider_code"] == "422"
    assert kept.state is State.FAILED
    assert kept.failure
    assert kept.failure.provider_code == 422


async def test_a_rejection_is_told_again_to_who_repeats_the_request(town: Town) -> None:
    town = patient(town)
    town.provider.scripts.append(answering(Rejected(422, "No.")))
    async with town.running():
        for _ in range(2):
            with pytest.raises(FailedPrecondition):
                await town.generations.create(DRAFT, "key")

    assert len(town.provider.submits) == 1


async def test_a_slow_provider_does_not_hold_the_caller(town: Town) -> None:
    answer = asyncio.Event()

    async def slow(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await answer.wait()
        return Accepted("task1")

    town.provider.scripts.append(slow)
    async with town.running():
        created = await town.generations.create(DRAFT, "")
        answer.set()
        running = await reached(town.store, created.id, State.RUNNING)

    assert created.state in {State.READY, State.DIALING, State.SENDING}
    assert running.task_id == "task1"
    assert len(town.provider.submits) == 1


async def test_an_order_without_a_submitter_is_still_accepted(town: Town) -> None:
    created = await town.generations.create(DRAFT, "")

    assert created.state is State.READY
    assert await town.store.get(created.id) == created


async def test_an_ambiguous_answer_is_accepted_and_pending(town: Town) -> None:
    town = patient(town)
    town.provider.scripts.append(answering(Ambiguous("HTTP 524 without JSON")))
    async with town.running():
        created = await town.generations.create(DRAFT, "")

    assert created.state is State.AMBIGUOUS


async def test_a_request_that_is_repeated_while_it_runs_joins(town: Town) -> None:
    town = patient(town)
    async with town.running():
        created = await asyncio.gather(*(town.generations.create(DRAFT, "key") for _ in range(10)))

    assert len({generation.id for generation in created}) == 1
    assert len(town.provider.submits) == 1


async def test_a_request_id_cannot_be_used_for_another_order(town: Town) -> None:
    await town.order("key")

    with pytest.raises(AlreadyExists):
        await town.generations.create(Draft("gpt4o-image", "a dog"), "key")

    assert len(await town.store.list(Page(10))) == 1


async def test_the_same_order_in_other_words_is_the_same(town: Town) -> None:
    """What is left out and what its default says are one order."""
    first = await town.generations.create(Draft("gpt4o-image", "a cat"), "key")
    again = await town.generations.create(Draft("gpt4o-image", "a cat", aspect_ratio="1:1"), "key")

    assert again.id == first.id


@pytest.mark.parametrize("request_id", ["x" * 256, "a\x00b"])
async def test_an_odd_request_id_is_refused(town: Town, request_id: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await town.generations.create(DRAFT, request_id)

    assert caught.value.metadata == {"field": "request_id"}
    assert await town.store.list(Page(10)) == []


async def test_a_bad_order_leaves_nothing(town: Town) -> None:
    with pytest.raises(InvalidArgument):
        await town.generations.create(Draft("gpt4o-image", " "), "")

    assert await town.store.list(Page(10)) == []


@pytest.mark.parametrize("outcome", [Refused(402, "no credit"), Refused(429, "slow"), Refused(401, "key")])
async def test_an_order_that_one_account_refuses_goes_to_the_other(town: Town, outcome: Refused) -> None:
    town = patient(town)
    town.provider.scripts.append(answering(outcome))
    async with town.running():
        created = await town.generations.create(DRAFT, "")

    assert created.task_id
    assert len({submit.account for submit in town.provider.submits}) == 2


async def test_an_order_that_was_not_sent_is_tried_again(town: Town) -> None:
    town.provider.scripts.append(unreachable(NotSent("ConnectError")))
    created = await town.order()
    await town.submit()
    waiting = await town.store.get(created.id)
    await town.let_time_pass()
    await town.submit()

    assert (waiting.state, town.provider.scripts) == (State.READY, town.provider.scripts)
    assert (await town.store.get(created.id)).state is State.RUNNING
    assert len(town.provider.submits) == 1


async def test_tries_are_counted_so_that_waits_grow(town: Town) -> None:
    created = await town.order()
    for _ in range(3):
        town.provider.scripts.append(unreachable(NotSent("ConnectError")))
        await town.submit()
        await town.let_time_pass()

    assert (await town.store.get(created.id)).tries == 3


async def test_an_order_waits_while_no_account_is_free(town: Town) -> None:
    created = await town.order()
    for account in ("one", "two"):
        key = await town.keys.reader(account)
        assert key
        await town.keys.refused(key, 402, None)
    await town.submit()
    waiting = await town.store.get(created.id)

    assert (waiting.state, waiting.tries) == (State.READY, 0)
    assert town.provider.submits == []


async def test_an_order_that_nobody_takes_in_time_expires(town: Town) -> None:
    created = await town.order()
    town.plan = replace(town.plan, submit_within=0.0)
    await asyncio.sleep(0.002)
    await town.submit()
    ended = await town.store.get(created.id)

    assert ended.state is State.EXPIRED
    assert ended.failure
    assert ended.failure.reason == "EXPIRED"
    assert town.provider.submits == []


async def test_every_attempt_has_a_token_of_its_own(town: Town) -> None:
    town.provider.scripts.append(answering(Refused(402, "no credit")))
    await town.order()
    await town.submit()
    await town.submit()

    tokens = [submit.token for submit in town.provider.submits]
    assert len(set(tokens)) == 2
    for token in tokens:
        attempt_id, _, secret = token.partition(".")
        attempt = await town.store.attempt(attempt_id)
        assert attempt
        assert len(secret) >= 32
        assert secret not in repr(attempt)


async def test_a_create_waits_no_longer_than_its_caller(town: Town) -> None:
    """A caller who is told DEADLINE_EXCEEDED has an order it does not know of."""
    token = context.deadline.set(time.monotonic() + ANSWER_SECONDS + 0.05)
    async with asyncio.timeout(LONG_WAIT / 2):
        created = await patient(town).generations.create(DRAFT, "")
    context.deadline.reset(token)

    assert created.state is State.READY


async def test_a_digest_stands_for_the_order_it_was_made_of(town: Town) -> None:
    """A picture given in the request is stored anew each time, so the order has another URL each time."""
    order = replace(DRAFT, image_uris=("https://example.org/first.png",))
    first = await town.generations.create(order, "key", request_digest="digest")
    again = await town.generations.create(
        replace(order, image_uris=("https://example.org/b.png",)), "key", "", "digest"
    )

    assert (again.id, again.joined, again.draft.image_uris) == (first.id, True, order.image_uris)
    with pytest.raises(AlreadyExists):
        await town.generations.create(order, "key", request_digest="another")
    with pytest.raises(InvalidArgument):
        await town.generations.create(order, "key", request_digest="x" * 256)
