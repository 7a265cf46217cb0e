"""The answer to a submit is recorded as long as the process lives; nothing is sent while one waits for the database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.errors import Unavailable
from services.generation.model import State
from services.generation.outcomes import Accepted, Ambiguous, Completed, NotSent, Outcome, Refused, Rejected
from services.generation.ports import Change
from services.generation.stores.generations import SqlGenerationStore
from tests.generation.harness import Connected, Harness, Script, Submit, answering, killed
from tests.generation.waiting import reached
from tests.support.polling import eventually

URI = "https://temporary.example/a.png"


WRITES = ("accept", "move", "touch", "dial", "decline", "note_outcome", "renew", "claim")

MANY = 50  # tries: the code that gave up after 39 s made seven


class Outage:
    """A database that is away for whatever writes, from a moment on until the test ends it."""

    def __init__(self, harness: Harness) -> None:
        self._store = harness.sql_store
        self.refused = 0
        self._away = False
        self.writes = WRITES

    def begin(self) -> None:
        self._away = True
        for name in self.writes:
            setattr(self._store, name, self._failing(getattr(self._store, name)))

    def end(self) -> None:
        self._away = False

    async def long(self) -> bool:
        """Whether it has gone on for many tries."""
        return self.refused >= MANY

    def _failing(self, honest: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: object) -> Any:
            if self._away:
                self.refused += 1
                raise Unavailable("The database is away.")
            return honest(*arguments)

        return write


@pytest.fixture
def impatient(harness: Harness) -> Harness:
    """Tries again at once."""
    return replace(harness, timing=replace(harness.timing, record_pause=0.001))


@pytest.fixture
async def outage(impatient: Harness) -> AsyncIterator[Outage]:
    begun = Outage(impatient)
    yield begun
    begun.end()


def going_away_before(outage: Outage, outcome: Outcome) -> Script:
    """Takes the order; the database goes away before the answer is read."""

    async def script(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        outage.begin()
        return outcome

    return script


async def test_an_accepted_answer_outlasts_any_outage(impatient: Harness, outage: Outage) -> None:
    impatient.provider.scripts.append(going_away_before(outage, Accepted("task-kept")))
    impatient.provider.records["task-kept"] = Completed((URI,))
    created = await impatient.order()
    async with impatient.running():
        await eventually(outage.long)
        outage.end()
        done = await reached(impatient.store, created.id, State.SUCCEEDED)

    assert done.task_id == "task-kept"
    assert len(impatient.provider.submits) == 1


REFUSALS = (
    (Refused(429, "Too many."), State.READY),
    (NotSent("ConnectError"), State.READY),
    (Rejected(422, "The prompt is not allowed."), State.FAILED),
)


@pytest.mark.parametrize(("outcome", "state"), REFUSALS)
async def test_a_refusal_outlasts_any_outage(
    impatient: Harness, outage: Outage, outcome: Outcome, state: State
) -> None:
    impatient.provider.scripts.append(going_away_before(outage, outcome))
    created = await impatient.order()
    submitting = asyncio.create_task(impatient.submit())
    await eventually(outage.long)
    outage.end()
    await submitting

    assert (await impatient.store.get(created.id)).state is state


@pytest.mark.parametrize(("outcome", "state"), REFUSALS)
async def test_a_refusal_is_believed_after_recovery_took_its_answer_for_lost(
    impatient: Harness, outage: Outage, outcome: Outcome, state: State
) -> None:
    """Another process, whose database is there, knows of no answer; this one does."""
    elsewhere = replace(impatient, sql_store=SqlGenerationStore())
    impatient.provider.scripts.append(going_away_before(outage, outcome))
    created = await impatient.order()
    submitting = asyncio.create_task(impatient.submit())
    await eventually(outage.long)
    await elsewhere.let_leases_end()
    await elsewhere.recover()
    meanwhile = await elsewhere.store.get(created.id)
    outage.end()
    await submitting
    now = await impatient.store.get(created.id)

    assert meanwhile.state is State.AMBIGUOUS
    assert now.state is state
    assert now.fence > meanwhile.fence


@pytest.mark.parametrize(("outcome", "state"), REFUSALS)
async def test_a_refusal_is_news_of_an_order_whose_answer_was_given_up_for_lost(
    impatient: Harness, outage: Outage, outcome: Outcome, state: State
) -> None:
    elsewhere = replace(impatient, sql_store=SqlGenerationStore())
    impatient.provider.scripts.append(going_away_before(outage, outcome))
    created = await impatient.order()
    submitting = asyncio.create_task(impatient.submit())
    await eventually(outage.long)
    for _ in range(2):
        await elsewhere.let_leases_end()
        await elsewhere.recover()
    meanwhile = await elsewhere.store.get(created.id)
    outage.end()
    await submitting
    now = await impatient.store.get(created.id)

    assert meanwhile.state is State.UNKNOWN
    assert now.state is state
    assert now.failure != meanwhile.failure
    assert bool(now.complete_ms) is (state is State.FAILED)


async def test_what_was_forgotten_while_its_refusal_waited_is_not_sent_again(harness: Harness) -> None:
    """A refusal makes an UNKNOWN order READY, also a forgotten one; without its prompt there is nothing to send."""
    harness.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    created = await harness.order()
    await harness.submit()
    await harness.let_time_pass()
    await harness.recover()
    await harness.generations.forget(created.id)
    forgotten = await harness.store.get(created.id)
    declined = await harness.store.decline(forgotten.attempt_id, Refused(429, "Too many."), State.READY, Change())
    await harness.submit()

    assert forgotten.state is State.UNKNOWN
    assert declined
    assert (await harness.store.get(created.id)).state is State.EXPIRED
    assert len(harness.provider.submits) == 1


async def test_an_order_that_no_account_can_pay_for_long_ends_with_the_providers_words(harness: Harness) -> None:
    harness = replace(harness, timing=replace(harness.timing, unpaid_within=0.0))
    harness.provider.scripts.extend([answering(Refused(402, "Credits insufficient"))] * 2)
    created = await harness.order()
    for _ in range(3):
        await harness.let_time_pass()
        await harness.submit()

    ended = await harness.store.get(created.id)
    assert (ended.state, len(harness.provider.submits)) == (State.EXPIRED, 2)
    assert ended.failure
    assert "Credits insufficient" in ended.failure.message


async def test_nothing_new_is_sent_while_an_answer_waits_to_be_recorded(impatient: Harness, outage: Outage) -> None:
    """Although the store answers all else, as one that is nearly full or failing over may."""
    impatient.provider.scripts.append(going_away_before(outage, Accepted("task-kept")))
    first = await impatient.order()
    outage.writes = ("accept",)
    async with impatient.running():
        await eventually(outage.long)
        second = await impatient.order()
        outage.refused = 0
        await eventually(outage.long)
        waiting = await impatient.store.get(second.id)
        sent = len(impatient.provider.submits)
        outage.end()
        await reached(impatient.store, first.id, State.RUNNING)
        await impatient.let_leases_end()
        await reached(impatient.store, second.id, State.RUNNING)

    assert (waiting.state, waiting.attempt_id) == (State.READY, "")
    assert sent == 1
    assert len(impatient.provider.submits) == 2


async def test_a_process_that_dies_with_an_answer_in_hand_has_lost_it_until_the_callback(
    impatient: Harness, outage: Outage
) -> None:
    impatient.provider.scripts.append(going_away_before(outage, Accepted("task-lost")))
    impatient.provider.records["task-lost"] = Completed((URI,))
    created = await impatient.order()
    await killed(impatient, eventually(outage.long))
    outage.end()
    await impatient.let_leases_end()
    async with impatient.running():
        lost = await reached(impatient.store, created.id, State.AMBIGUOUS)
        await impatient.callback("task-lost", impatient.provider.submits[0].token)
        found = await reached(impatient.store, created.id, State.SUCCEEDED)

    assert lost.task_id == ""
    assert found.task_id == "task-lost"
    assert len(impatient.provider.submits) == 1
