"""A create waits a moment for the provider's definite answer: it tells a refusal, and never more than it knows."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from catalogue import MODELS, Model
from services.chassis import context
from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from services.generation.core.admission import ANSWER_SECONDS, AdmissionControl
from services.generation.core.generations import Generations
from services.generation.model import Draft, Generation, State
from services.generation.outcomes import Accepted, Ambiguous, NotSent, Outcome, Refused, Rejected
from services.generation.ports import Page
from services.generation.stores.tables import generation as table
from tests.generation.harness import DRAFT, Connected, Harness, Submit, answering, unreachable
from tests.generation.waiting import reached

LONG_WAIT = 60.0


def patient(harness: Harness) -> Harness:
    """Waits for the answer as long as it takes."""
    return replace(harness, timing=replace(harness.timing, create_wait=LONG_WAIT))


async def test_an_accepted_order_comes_back_running(harness: Harness) -> None:
    harness = patient(harness)
    async with harness.running():
        created = await harness.generations.create(DRAFT, "")

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
        created = await harness.generations.create(DRAFT, "")
        answer.set()
        running = await reached(harness.store, created.id, State.RUNNING)

    assert created.state in {State.READY, State.DIALING, State.SENDING}
    assert running.task_id == "task1"
    assert len(harness.provider.submits) == 1


async def test_an_order_without_a_submitter_is_still_accepted(harness: Harness) -> None:
    created = await harness.generations.create(DRAFT, "")

    assert created.state is State.READY
    assert await harness.store.get(created.id) == created


async def test_an_ambiguous_answer_is_accepted_and_pending(harness: Harness) -> None:
    harness = patient(harness)
    harness.provider.scripts.append(answering(Ambiguous("HTTP 524 without JSON")))
    async with harness.running():
        created = await harness.generations.create(DRAFT, "")

    assert created.state is State.AMBIGUOUS


async def test_a_request_that_is_repeated_while_it_runs_joins(harness: Harness) -> None:
    harness = patient(harness)
    async with harness.running():
        created = await asyncio.gather(*(harness.generations.create(DRAFT, "key") for _ in range(10)))

    assert len({generation.id for generation in created}) == 1
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
        created = await harness.generations.create(DRAFT, "")

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
        created = await patient(harness).generations.create(DRAFT, "")
    context.deadline.reset(token)

    assert created.state is State.READY


async def test_a_digest_stands_for_the_order_it_was_made_of(harness: Harness) -> None:
    """A picture given in the request is stored anew each time, so the order has another URL each time."""
    order = replace(DRAFT, image_uris=("https://example.org/first.png",))
    first = await harness.generations.create(order, "key", request_digest="digest")
    again = await harness.generations.create(
        replace(order, image_uris=("https://example.org/b.png",)), "key", "", "digest"
    )

    assert (again.id, again.joined, again.draft.image_uris) == (first.id, True, order.image_uris)
    with pytest.raises(AlreadyExists):
        await harness.generations.create(order, "key", request_digest="another")
    with pytest.raises(InvalidArgument):
        await harness.generations.create(order, "key", request_digest="x" * 256)


async def repeated(harness: Harness, draft: Draft, models: Mapping[str, Model] = MODELS) -> Generation:
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

    assert (again.id, again.joined) == (first.id, True)
    assert again.draft == first.draft


async def test_a_repeated_request_is_told_from_another_by_what_was_sent(harness: Harness) -> None:
    """To name the default is to send something else, and the answer names the first order."""
    first = await repeated(harness, DRAFT)
    with pytest.raises(AlreadyExists) as caught:
        await repeated(harness, replace(DRAFT, aspect_ratio=first.draft.aspect_ratio))

    assert (caught.value.reason, caught.value.metadata) == ("IDEMPOTENCY_KEY_REUSED", {"generation": first.id})


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
        assert (await repeated(harness, replace(draft, **change), OTHER_DEFAULTS)).id == first.id
    else:
        with pytest.raises(AlreadyExists):
            await repeated(harness, replace(draft, **change), OTHER_DEFAULTS)
