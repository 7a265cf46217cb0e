"""Wherever the process dies, the order ends and is billed at most once: nothing behind SENDING is ever sent again."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.database import Database
from services.chassis.supervisor import supervised
from services.generation.model import FINAL, State
from services.generation.outcomes import Accepted, Completed, NotSent, Outcome, Refused, Rejected
from services.generation.stores.key_pool import open_key_pool
from services.generation.workers.loops import make_loops
from tests.generation.harness import CONCURRENCY, CREATES, Connected, Harness, Script, Submit, keys_of, killed
from tests.generation.waiting import reached
from tests.support.polling import eventually

URI = "https://temporary.example/a.png"
STEPS = ("attempt", "claim", "dial", "move", "accept", "renew", "touch", "note_outcome", "get")
DECLINED = (Refused(429, "Too many."), NotSent("ConnectError"), Rejected(422, "The prompt is not allowed."))
RECORDING = ("note_outcome", "move", "decline", "refused")


class Cut:
    """A place at which the process dies: whoever comes there waits until the test has killed the loops."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def die(self) -> None:
        """Never returns."""
        self.reached.set()
        await asyncio.Event().wait()


class MortalDatabase:
    """The database of a process that dies around the use of a store's method: before it, or once it is committed."""

    def __init__(self, database: Database, cut: Cut, when: str, step: str = "") -> None:
        self._database, self._cut, self._when = database, cut, when
        self.step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def read(self, *call: Any, **options: Any) -> Any:
        return self._dying(self._database.read, *call, **options)

    def write(self, *call: Any, **options: Any) -> Any:
        return self._dying(self._database.write, *call, **options)

    def write_urgently(self, *call: Any, **options: Any) -> Any:
        return self._dying(self._database.write_urgently, *call, **options)

    def _dying(self, honest: Any, *call: Any, **options: Any) -> Any:
        if not call or getattr(call[0], "__name__", "") != self.step:
            return honest(*call, **options)
        return self._die(honest, *call, **options)

    async def _die(self, honest: Any, *call: Any, **options: Any) -> Any:
        if self._when == "before":
            await self._cut.die()
        answer = await honest(*call, **options)
        if self.step != "claim" or answer:
            await self._cut.die()
        return answer


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


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_death_at_any_step_of_the_store_bills_once(harness: Harness, step: str, when: str) -> None:
    """The loops are killed around the first use of a store method, then started anew on the same rows."""
    cut = Cut()
    mortal = replace(harness, database=MortalDatabase(harness.database, cut, when, step))
    harness.provider.records["task1"] = Completed((URI,))
    created = await harness.order()
    await killed(mortal, cut.reached.wait(), eventually(lambda: ended(harness, created.id)))
    await harness.let_leases_end()
    async with harness.running():
        await eventually(lambda: ended(harness, created.id))

    # After the SENDING mark and before the first byte nobody can tell whether it left: then nothing is sent at all.
    assert len(harness.provider.submits) == (0 if (step, when) == ("move", "after") else 1)


@pytest.mark.parametrize("outcome", DECLINED)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", RECORDING)
async def test_a_death_while_a_refusal_is_recorded_leaves_none_that_is_noted_and_not_followed(
    harness: Harness, step: str, when: str, outcome: Outcome
) -> None:
    """A refusal is either lost whole, with the process that had it in hand, or its order moves on."""
    cut = Cut()
    database: Any = MortalDatabase(harness.database, cut, when)
    pool = await open_key_pool(database, keys_of(), CREATES)
    mortal = replace(harness, database=database, key_pool=pool)

    async def refusing(_submit: Submit, connected: Connected) -> Outcome:
        await connected()
        database.step = step
        return outcome

    harness.provider.scripts.append(refusing)
    harness.provider.records["task2"] = Completed((URI,))
    created = await harness.order()
    await killed(mortal, cut.reached.wait(), eventually(lambda: ended(harness, created.id)))
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
    generation = await harness.store.get(identifier)
    if generation.state is State.AMBIGUOUS:
        await harness.let_time_pass()
    return generation.state in FINAL
