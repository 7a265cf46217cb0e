"""A generation at which our own code fails again and again ends where owner and operators see it, and comes back."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from services.chassis.errors import NotFound
from services.chassis.parking import MAX_FAULTS
from services.generation.core.timeline import Timeline
from services.generation.model import INBOX, Generation, State
from services.generation.outcomes import Ambiguous, Completed
from services.generation.stores.tables import inbox
from services.generation.workers.parked_work import PARKED
from tests.generation.harness import Harness, answering
from tests.generation.waiting import reached
from tests.generation.workers.test_submit import URI
from tests.support.polling import eventually
from tests.support.sql import fetch_value


class Bug:
    """A method of ours that fails for one piece of work, until it is mended."""

    def __init__(self, owner: object, name: str, stumbles: Callable[..., bool]) -> None:
        self.tries = 0
        self._mended = False
        self._honest: Callable[..., Awaitable[Any]] = getattr(owner, name)
        self._stumbles = stumbles
        setattr(owner, name, self._call)

    def mend(self) -> None:
        self._mended = True

    async def _call(self, *arguments: object) -> Any:
        if not self._mended and self._stumbles(*arguments):
            self.tries += 1
            raise RecursionError("1,010 nested objects, and a prompt")
        return await self._honest(*arguments)


async def parked(harness: Harness, work_id: str) -> str:
    """Run the loops until a piece of work is parked; the loop it is parked in."""

    async def is_parked() -> bool:
        await harness.let_time_pass()
        return any(fault.work_id == work_id for fault in await harness.parking.listed())

    async with harness.running():
        await eventually(is_parked)
    return next(fault.loop for fault in await harness.parking.listed() if fault.work_id == work_id)


async def released(harness: Harness, loop: str, work_id: str) -> Generation:
    await harness.workers.parked_work.release(loop, work_id)
    async with harness.running():
        done = await reached(harness.store, work_id, State.SUCCEEDED)
    assert await harness.parking.listed() == []
    return done


async def test_a_record_that_cannot_be_read_ends_unknown_and_is_read_once_released(harness: Harness) -> None:
    bug = Bug(harness.provider, "fetch", lambda task_id, _key: task_id == "task1")
    harness.provider.records |= {"task1": Completed((URI,)), "task2": Completed((URI,))}
    poisoned = await harness.order()
    await harness.submit()
    neighbour = await harness.order()
    loop = await parked(harness, poisoned.id)
    shown, tries = await harness.store.get(poisoned.id), bug.tries
    async with harness.running():
        await reached(harness.store, neighbour.id, State.SUCCEEDED)
        await harness.let_time_pass()
    bug.mend()

    assert (loop, tries) == ("poll", MAX_FAULTS)
    assert shown.state is State.UNKNOWN
    assert shown.failure
    assert shown.failure.reason == PARKED
    assert bug.tries == tries
    done = await released(harness, loop, poisoned.id)
    assert done.failure is None


async def test_an_order_that_cannot_be_sent_ends_unsent_and_is_sent_once_released(harness: Harness) -> None:
    bug = Bug(harness.provider, "submit", lambda *_: True)
    harness.provider.records["task1"] = Completed((URI,))
    created = await harness.order()

    async def tried() -> bool:
        """Ends the lease of an attempt once its failure is counted; one that ended earlier would undo the count."""
        faults = await harness.parking.of([created.id])
        if sum(fault.count for fault in faults) == bug.tries:
            await harness.let_leases_end()
        return any(fault.parked for fault in faults)

    async with harness.running():
        await eventually(tried)
    shown = await harness.store.get(created.id)
    (fault,) = await harness.parking.listed()
    bug.mend()

    assert fault.loop == "submit"
    assert bug.tries >= MAX_FAULTS
    assert shown.state is State.EXPIRED
    assert shown.failure
    assert shown.failure.reason == PARKED
    assert harness.provider.submits == []
    await released(harness, "submit", created.id)
    assert len(harness.provider.submits) == 1


async def test_a_picture_that_cannot_be_copied_shows_its_url_and_is_copied_once_released(harness: Harness) -> None:
    bug = Bug(harness.storage, "copy", lambda *_: True)
    harness.provider.records["task1"] = Completed((URI,))
    created = await harness.order()
    loop = await parked(harness, created.id)
    shown = await harness.store.get(created.id)
    bug.mend()

    assert (loop, shown.state) == ("copy", State.STORING)
    assert shown.outputs[0].error
    await released(harness, loop, created.id)


async def test_an_owner_who_orders_anew_is_not_held_up_by_what_was_parked(harness: Harness) -> None:
    bug = Bug(harness.provider, "fetch", lambda *_: True)
    created = await harness.order()
    await parked(harness, created.id)
    bug.mend()
    harness.provider.records["task2"] = Completed((URI,))
    await harness.store.restart(await harness.store.get(created.id))
    async with harness.running():
        await reached(harness.store, created.id, State.SUCCEEDED)

    assert await harness.parking.listed() == []


async def test_only_what_is_parked_can_be_released(harness: Harness) -> None:
    created = await harness.order()

    with pytest.raises(NotFound) as caught:
        await harness.workers.parked_work.release("submit", created.id)

    assert caught.value.reason == "NOT_PARKED"


class LostOrder:
    """An order whose answer was lost, and the callback that names its task."""

    def __init__(self, harness: Harness, order: Generation, token: str) -> None:
        self.harness, self.order, self.token = harness, order, token

    async def webhook(self) -> str:
        """Send it; the id under which the inbox keeps it."""
        await self.harness.callback("task9", self.token)
        return str(await fetch_value(self.harness.database, select(inbox.c.id).where(inbox.c.task_id == "task9")))

    async def open(self) -> bool:
        return await fetch_value(self.harness.database, select(inbox.c.verdict).where(inbox.c.task_id == "task9")) == ""


async def orphan(harness: Harness) -> LostOrder:
    harness.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    harness.provider.records["task9"] = Completed((URI,))
    order = await harness.order()
    await harness.submit()
    return LostOrder(harness, order, harness.provider.submits[-1].token)


async def test_a_callback_at_which_our_code_fails_is_parked_and_read_once_released(harness: Harness) -> None:
    bug = Bug(harness.provider, "recognise", lambda task_id, *_: task_id == "task9")
    lost = await orphan(harness)
    work_id = await lost.webhook()
    with capture_logs() as logs:
        loop = await parked(harness, work_id)
    tries = bug.tries
    async with harness.running():
        await harness.let_time_pass()
        await reached_by_neighbour(harness)
    still_open, seen = await lost.open(), bug.tries
    bug.mend()
    await harness.workers.parked_work.release(loop, work_id)
    async with harness.running():
        done = await reached(harness.store, lost.order.id, State.SUCCEEDED)

    failures = [line for line in logs if line["event"] == "work_failed"]
    assert (loop, tries, seen, still_open) == (INBOX, MAX_FAULTS, MAX_FAULTS, True)
    assert failures[-1]["trace"]
    assert "nested objects" not in str(logs)
    assert [output.source_uri for output in done.outputs] == [URI]
    assert await harness.parking.listed() == []


async def reached_by_neighbour(harness: Harness) -> None:
    """Another order is served while one is parked."""
    harness.provider.records["task2"] = Completed((f"{URI}?2",))
    neighbour = await harness.order()
    await reached(harness.store, neighbour.id, State.SUCCEEDED)


async def test_a_repetition_opens_a_parked_callback(harness: Harness) -> None:
    bug = Bug(harness.provider, "recognise", lambda task_id, *_: task_id == "task9")
    lost = await orphan(harness)
    await parked(harness, await lost.webhook())
    bug.mend()
    async with harness.running():
        await lost.webhook()
        await reached(harness.store, lost.order.id, State.SUCCEEDED)

    assert await harness.parking.listed() == []


async def test_a_repeated_callback_without_a_token_does_not_release_it(harness: Harness) -> None:
    """Anybody can send it: each would be tried as often again."""
    await orphan(harness)
    Bug(harness.provider, "fetch", lambda *_: True)
    running = await harness.order()
    await harness.submit()
    await harness.store.cancel(await harness.store.get(running.id))
    task = (await harness.store.get(running.id)).task_id
    await harness.callback(task)
    work_id = str(await fetch_value(harness.database, select(inbox.c.id)))
    await parked(harness, work_id)
    await harness.callback(task)

    assert work_id in {fault.work_id for fault in await harness.parking.listed()}


async def test_the_timeline_of_an_order_shows_its_parked_work(harness: Harness) -> None:
    Bug(harness.provider, "recognise", lambda task_id, *_: task_id == "task9")
    lost = await orphan(harness)
    work_id = await lost.webhook()
    await parked(harness, work_id)

    entries = await Timeline(
        harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking
    ).explain(lost.order.id)
    (sentence,) = [entry.text for entry in entries if entry.kind == "fault"]

    assert work_id in sentence
    assert f"{INBOX}, {MAX_FAULTS} tries" in sentence
    assert "RecursionError" in sentence
    assert "parked" in sentence
    assert "nested objects" not in sentence
