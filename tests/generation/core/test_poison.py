"""A generation at which our own code fails again and again ends where owner and operators see it, and comes back."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from services.chassis.errors import NotFound
from services.chassis.parking import MAX_FAULTS
from services.generation.answers import Ambiguous, Drawn
from services.generation.core.history import History
from services.generation.core.poison import PARKED
from services.generation.model import INBOX, Generation, State
from services.generation.stores.tables import inbox
from tests.generation.core.test_crashes import URI
from tests.generation.town import Town, answering
from tests.generation.waiting import eventually, reached


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


async def parked(town: Town, work_id: str) -> str:
    """Run the loops until a piece of work is parked; the loop it is parked in."""

    async def is_parked() -> bool:
        await town.let_time_pass()
        return any(fault.work_id == work_id for fault in await town.parking.listed())

    async with town.running():
        await eventually(is_parked)
    return next(fault.loop for fault in await town.parking.listed() if fault.work_id == work_id)


async def released(town: Town, loop: str, work_id: str) -> Generation:
    await town.crew.poison.release(loop, work_id)
    async with town.running():
        done = await reached(town.store, work_id, State.SUCCEEDED)
    assert await town.parking.listed() == []
    return done


async def test_a_record_that_cannot_be_read_ends_unknown_and_is_read_once_released(town: Town) -> None:
    bug = Bug(town.provider, "fetch", lambda task_id, _key: task_id == "task1")
    town.provider.records |= {"task1": Drawn((URI,)), "task2": Drawn((URI,))}
    poisoned = await town.order()
    await town.submit()
    neighbour = await town.order()
    loop = await parked(town, poisoned.id)
    shown, tries = await town.store.get(poisoned.id), bug.tries
    async with town.running():
        await reached(town.store, neighbour.id, State.SUCCEEDED)
        await town.let_time_pass()
    bug.mend()

    assert (loop, tries) == ("poll", MAX_FAULTS)
    assert shown.state is State.UNKNOWN
    assert shown.failure
    assert shown.failure.reason == PARKED
    assert bug.tries == tries
    done = await released(town, loop, poisoned.id)
    assert done.failure is None


async def test_an_order_that_cannot_be_sent_ends_unsent_and_is_sent_once_released(town: Town) -> None:
    bug = Bug(town.provider, "submit", lambda *_: True)
    town.provider.records["task1"] = Drawn((URI,))
    created = await town.order()

    async def tried() -> bool:
        await town.let_leases_end()
        return bool(await town.parking.listed())

    async with town.running():
        await eventually(tried)
    shown = await town.store.get(created.id)
    (fault,) = await town.parking.listed()
    bug.mend()

    assert fault.loop == "submit"
    assert bug.tries >= MAX_FAULTS
    assert shown.state is State.EXPIRED
    assert shown.failure
    assert shown.failure.reason == PARKED
    assert town.provider.submits == []
    await released(town, "submit", created.id)
    assert len(town.provider.submits) == 1


async def test_a_picture_that_cannot_be_copied_shows_its_url_and_is_copied_once_released(town: Town) -> None:
    bug = Bug(town.archive, "keep", lambda *_: True)
    town.provider.records["task1"] = Drawn((URI,))
    created = await town.order()
    loop = await parked(town, created.id)
    shown = await town.store.get(created.id)
    bug.mend()

    assert (loop, shown.state) == ("copy", State.STORING)
    assert shown.outputs[0].error
    await released(town, loop, created.id)


async def test_an_owner_who_orders_anew_is_not_held_up_by_what_was_parked(town: Town) -> None:
    bug = Bug(town.provider, "fetch", lambda *_: True)
    created = await town.order()
    await parked(town, created.id)
    bug.mend()
    town.provider.records["task2"] = Drawn((URI,))
    await town.store.restart(await town.store.get(created.id))
    async with town.running():
        await reached(town.store, created.id, State.SUCCEEDED)

    assert await town.parking.listed() == []


async def test_only_what_is_parked_can_be_released(town: Town) -> None:
    created = await town.order()

    with pytest.raises(NotFound) as caught:
        await town.crew.poison.release("submit", created.id)

    assert caught.value.reason == "NOT_PARKED"


class Orphan:
    """An order whose answer was lost, and the webhook that names its task."""

    def __init__(self, town: Town, order: Generation, token: str) -> None:
        self.town, self.order, self.token = town, order, token

    async def webhook(self) -> str:
        """Send it; the id under which the inbox keeps it."""
        await self.town.callback("task9", self.token)
        async with self.town.database.read() as connection:
            return str(await connection.scalar(select(inbox.c.id).where(inbox.c.task_id == "task9")))

    async def open(self) -> bool:
        async with self.town.database.read() as connection:
            return await connection.scalar(select(inbox.c.verdict).where(inbox.c.task_id == "task9")) == ""


async def orphan(town: Town) -> Orphan:
    town.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    town.provider.records["task9"] = Drawn((URI,))
    order = await town.order()
    await town.submit()
    return Orphan(town, order, town.provider.submits[-1].token)


async def test_a_webhook_at_which_our_code_fails_is_parked_and_read_once_released(town: Town) -> None:
    bug = Bug(town.provider, "recognise", lambda task_id, *_: task_id == "task9")
    lost = await orphan(town)
    work_id = await lost.webhook()
    with capture_logs() as logs:
        loop = await parked(town, work_id)
    tries = bug.tries
    async with town.running():
        await town.let_time_pass()
        await reached_by_neighbour(town)
    still_open, seen = await lost.open(), bug.tries
    bug.mend()
    await town.crew.poison.release(loop, work_id)
    async with town.running():
        done = await reached(town.store, lost.order.id, State.SUCCEEDED)

    failures = [line for line in logs if line["event"] == "work_failed"]
    assert (loop, tries, seen, still_open) == (INBOX, MAX_FAULTS, MAX_FAULTS, True)
    assert failures[-1]["trace"]
    assert "nested objects" not in str(logs)
    assert [output.source_uri for output in done.outputs] == [URI]
    assert await town.parking.listed() == []


async def reached_by_neighbour(town: Town) -> None:
    """Another order is served while one is parked."""
    town.provider.records["task2"] = Drawn((f"{URI}?2",))
    neighbour = await town.order()
    await reached(town.store, neighbour.id, State.SUCCEEDED)


async def test_a_repetition_opens_a_parked_webhook(town: Town) -> None:
    bug = Bug(town.provider, "recognise", lambda task_id, *_: task_id == "task9")
    lost = await orphan(town)
    await parked(town, await lost.webhook())
    bug.mend()
    async with town.running():
        await lost.webhook()
        await reached(town.store, lost.order.id, State.SUCCEEDED)

    assert await town.parking.listed() == []


async def test_a_repeated_webhook_without_a_token_does_not_release_it(town: Town) -> None:
    """Anybody can send it: each would be tried as often again."""
    await orphan(town)
    Bug(town.provider, "fetch", lambda *_: True)
    running = await town.order()
    await town.submit()
    await town.store.cancel(await town.store.get(running.id))
    task = (await town.store.get(running.id)).task_id
    await town.callback(task)
    async with town.database.read() as connection:
        work_id = str(await connection.scalar(select(inbox.c.id)))
    await parked(town, work_id)
    await town.callback(task)

    assert work_id in {fault.work_id for fault in await town.parking.listed()}


async def test_the_story_of_an_order_tells_of_its_parked_work(town: Town) -> None:
    Bug(town.provider, "recognise", lambda task_id, *_: task_id == "task9")
    lost = await orphan(town)
    work_id = await lost.webhook()
    await parked(town, work_id)

    entries = await History(town.store, town.crew.poller, town.keys, town.parking).explain(lost.order.id)
    (told,) = [entry.text for entry in entries if entry.kind == "fault"]

    assert work_id in told
    assert f"{INBOX}, {MAX_FAULTS} tries" in told
    assert "RecursionError" in told
    assert "parked" in told
    assert "nested objects" not in told
