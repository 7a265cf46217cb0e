"""The answer to a submit is recorded as long as the process lives; when it dies, the order ends, billed at most once.

Nothing is sent while an answer waits for the database, and nothing behind SENDING is ever sent again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.errors import Unavailable
from services.chassis.supervisor import supervised
from services.generation.model import FINAL, State
from services.generation.outcomes import Accepted, Ambiguous, Completed, NotSent, Outcome, Refused, Rejected
from services.generation.ports import Change
from services.generation.stores.generations import SqlGenerationStore
from services.generation.workers.loops import make_loops
from tests.generation.harness import CONCURRENCY, Connected, Harness, Script, Submit, answering
from tests.generation.waiting import reached
from tests.support.polling import eventually

URI = "https://temporary.example/a.png"


class Cut:
    """A place at which the process dies: whoever comes there waits until the test has killed the loops."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def die(self) -> None:
        """Never returns."""
        self.reached.set()
        await asyncio.Event().wait()


def before_connect(cut: Cut) -> Script:
    async def script(_submit: Submit, _connected: Connected) -> Outcome:
        await cut.die()
        raise AssertionError

    return script


def after_sending(cut: Cut) -> Script:
    async def script(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await cut.die()
        raise AssertionError

    return script


async def killed(harness: Harness, *ends: Awaitable[object]) -> None:
    """Run the loops until one of the ends, then kill them and what they do at this moment."""
    tasks = [asyncio.ensure_future(loop()) for loop in make_loops(harness.workers, CONCURRENCY)]
    waiting = [asyncio.ensure_future(end) for end in ends]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    doomed = [task for task in asyncio.all_tasks() if "LeaseLoop._do" in repr(task.get_coro())]
    for task in [*tasks, *doomed, *waiting]:
        task.cancel()
    await asyncio.gather(*tasks, *doomed, *waiting, return_exceptions=True)
    if begun := asyncio.all_tasks() - {asyncio.current_task()}:  # transactions, which end as they would in the database
        await asyncio.wait(begun)


async def test_a_death_before_the_first_byte_leads_to_one_submit(harness: Harness) -> None:
    cut = Cut()
    harness.provider.scripts.append(before_connect(cut))
    harness.provider.records["task1"] = Completed((URI,))
    created = await harness.order()
    await killed(harness, cut.reached.wait())
    left = await harness.store.get(created.id)
    await harness.let_leases_end()
    async with harness.running():
        await reached(harness.store, created.id, State.SUCCEEDED)

    assert left.state is State.DIALING
    assert len(harness.provider.submits) == 1


async def test_a_death_after_the_first_byte_is_never_sent_again(harness: Harness) -> None:
    cut = Cut()
    harness.provider.scripts.append(after_sending(cut))
    created = await harness.order()
    await killed(harness, cut.reached.wait())
    left = await harness.store.get(created.id)
    await harness.let_leases_end()
    async with harness.running():
        await reached(harness.store, created.id, State.AMBIGUOUS)
        await harness.let_time_pass()
        unknown = await reached(harness.store, created.id, State.UNKNOWN)

    assert left.state is State.SENDING
    assert unknown.failure
    assert unknown.failure.reason == "ANSWER_LOST"
    assert len(harness.provider.submits) == 1


async def test_the_callback_of_an_order_whose_process_died_brings_its_picture(harness: Harness) -> None:
    cut = Cut()
    harness.provider.scripts.append(after_sending(cut))
    created = await harness.order()
    await killed(harness, cut.reached.wait())
    harness.provider.records["task7"] = Completed((URI,))
    await harness.callback("task7", harness.provider.submits[0].token)
    async with harness.running():
        done = await reached(harness.store, created.id, State.SUCCEEDED)

    assert done.task_id == "task7"
    assert len(harness.provider.submits) == 1


async def test_a_process_that_lost_its_lease_before_the_first_byte_sends_nothing(harness: Harness) -> None:
    """Its lease ended and another has taken the order: SENDING is refused, so not a byte leaves.

    See docs/durable-core.md#an-order.
    """
    asleep, wake = asyncio.Event(), asyncio.Event()

    async def frozen(_submit: Submit, connected: Connected) -> Outcome:
        asleep.set()
        await wake.wait()
        await connected()
        return Accepted("zombie")

    harness.provider.scripts.append(frozen)
    created = await harness.order()
    async with supervised([make_loops(harness.workers, CONCURRENCY)[0]]):
        await asleep.wait()
        await harness.let_leases_end()
        await harness.recover()
        await harness.let_time_pass()
        running = await reached(harness.store, created.id, State.RUNNING)
        wake.set()

    assert len(harness.provider.submits) == 1
    assert running.task_id == (await harness.store.get(created.id)).task_id != "zombie"


STEPS = ("attempt", "claim", "dial", "move", "accept", "renew", "touch", "note_outcome", "get")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_death_at_any_step_of_the_store_bills_once(harness: Harness, step: str, when: str) -> None:
    """The loops are killed around the first use of a store method, then started anew on the same rows."""
    cut, honest = Cut(), getattr(harness.store, step)

    async def dying(*arguments: object) -> object:
        if when == "before":
            await cut.die()
        answer = await honest(*arguments)
        if step != "claim" or answer:
            await cut.die()
        return answer

    harness.provider.records["task1"] = Completed((URI,))
    created = await harness.order()
    setattr(harness.store, step, dying)
    await killed(harness, cut.reached.wait(), eventually(lambda: ended(harness, created.id)))
    setattr(harness.store, step, honest)
    await harness.let_leases_end()
    async with harness.running():
        await eventually(lambda: ended(harness, created.id))

    # After the SENDING mark and before the first byte nobody can tell whether it left: then nothing is sent at all.
    assert len(harness.provider.submits) == (0 if (step, when) == ("move", "after") else 1)


DECLINED = (Refused(429, "Too many."), NotSent("ConnectError"), Rejected(422, "The prompt is not allowed."))

RECORDING = ("note_outcome", "move", "decline", "refused")


@pytest.mark.parametrize("outcome", DECLINED)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", RECORDING)
async def test_a_death_while_a_refusal_is_recorded_leaves_none_that_is_noted_and_not_followed(
    harness: Harness, step: str, when: str, outcome: Outcome
) -> None:
    """A refusal is either lost whole, with the process that had it in hand, or its order moves on."""
    cut = Cut()
    owner: Any = harness.key_pool if step == "refused" else harness.store
    honest = getattr(owner, step)

    async def dying(*arguments: object) -> object:
        if when == "before":
            await cut.die()
        await honest(*arguments)
        return await cut.die()

    async def refusing(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        setattr(owner, step, dying)
        return outcome

    harness.provider.scripts.append(refusing)
    harness.provider.records["task2"] = Completed((URI,))
    created = await harness.order()
    await killed(harness, cut.reached.wait(), eventually(lambda: ended(harness, created.id)))
    setattr(owner, step, honest)
    left = await harness.store.get(created.id)
    refused, *_ = (await harness.store.timeline_facts(left)).attempts
    await harness.let_leases_end()

    async def over() -> bool:
        await harness.let_time_pass()
        return (await harness.store.get(created.id)).state in FINAL

    async with harness.running():
        await eventually(over)

    now = await harness.store.get(created.id)
    lost = (now.state, now.attempt_id) == (State.UNKNOWN, refused.id)
    assert lost is not bool(refused.outcome)


async def ended(harness: Harness, identifier: str) -> bool:
    generation = await type(harness.store).get(harness.store, identifier)
    if generation.state is State.AMBIGUOUS:
        await harness.let_time_pass()
    return generation.state in FINAL


WRITES = ("accept", "move", "touch", "dial", "decline", "note_outcome", "renew", "claim")

MANY = 50  # tries: the code that gave up after 39 s made seven


class Outage:
    """A database that is away for whatever writes, from a moment on until the test ends it."""

    def __init__(self, harness: Harness) -> None:
        self._store = harness.store
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

    def _failing(self, honest: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def write(*arguments: object) -> Any:
            if self._away:
                self.refused += 1
                raise Unavailable("The database is away.")
            return await honest(*arguments)

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
    elsewhere = replace(impatient, store=SqlGenerationStore(impatient.database, impatient.notifier))
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
    elsewhere = replace(impatient, store=SqlGenerationStore(impatient.database, impatient.notifier))
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
