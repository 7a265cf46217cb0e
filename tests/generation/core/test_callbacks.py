"""A webhook is a hint: it wakes its generation or reunites an orphan with its task, and never moves anything itself."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from services.chassis.database import db_now
from services.chassis.errors import InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unavailable
from services.chassis.supervisor import supervised
from services.generation.answers import Accepted, Ambiguous, Broken, Drawing, Drawn, Outcome, Unreadable
from services.generation.core.latecomers import Latecomers
from services.generation.core.postman import PATIENCE_TRIES, Postman
from services.generation.model import Attempt, Generation, State
from services.generation.ports import Page
from services.generation.stores.tables import generation as table
from services.generation.stores.tables import inbox
from tests.generation.town import KIND, Connected, Submit, Town, answering
from tests.generation.waiting import eventually, reached

URI = "https://temporary.example/a.png"


async def verdicts(town: Town) -> list[str]:
    """What became of each webhook, oldest first."""
    async with town.database.read() as connection:
        return list(await connection.scalars(select(inbox.c.verdict).order_by(inbox.c.id)))


async def settled(town: Town) -> list[str]:
    """The verdicts once all are given."""

    async def done() -> bool:
        found = await verdicts(town)
        return bool(found) and all(found)

    await eventually(done)
    return await verdicts(town)


async def looked_into(town: Town) -> None:
    """Wait until each webhook was taken at least once and put back."""

    async def put_back() -> bool:
        async with town.database.read() as connection:
            rows = (await connection.execute(select(inbox.c.tries, inbox.c.verdict))).all()
        return all(row.tries or row.verdict for row in rows)

    await eventually(put_back)


async def lost(town: Town) -> tuple[Generation, str]:
    """An order whose answer was lost, and the token of its attempt."""
    town.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    created = await town.order()
    await town.submit()
    generation = await town.store.get(created.id)
    assert generation.state is State.AMBIGUOUS
    return generation, town.provider.submits[-1].token


async def running(town: Town) -> Generation:
    """An order that the provider draws."""
    created = await town.order()
    await town.submit()
    return await town.store.get(created.id)


async def due_of(town: Town) -> int:
    """When the only generation is looked at next."""
    async with town.database.read() as connection:
        return int(await connection.scalar(select(table.c.due_ms)) or 0)


async def test_an_ambiguous_order_is_never_sent_again(town: Town) -> None:
    generation, _ = await lost(town)
    for _ in range(5):
        await town.let_leases_end()
        await town.submit()
        await town.tidy()
        await town.poll()

    assert len(town.provider.submits) == 1
    assert (await town.store.get(generation.id)).state is State.UNKNOWN


async def test_a_callback_with_the_token_reunites_an_orphan(town: Town) -> None:
    generation, token = await lost(town)
    town.provider.records["task9"] = Drawing(10)
    async with town.delivering():
        await town.callback("task9", token)
        now = await reached(town.store, generation.id, State.RUNNING)

    assert now.task_id == "task9"
    assert len(town.provider.submits) == 1


async def test_a_callback_reunites_an_unknown_and_takes_back_its_end(town: Town) -> None:
    generation, token = await lost(town)
    await town.let_time_pass()
    await town.tidy()
    unknown = await town.store.get(generation.id)
    town.provider.records["task9"] = Drawn((URI,))
    async with town.running():
        await town.callback("task9", token)
        done = await reached(town.store, generation.id, State.SUCCEEDED)

    assert unknown.state is State.UNKNOWN
    assert unknown.failure
    assert done.failure is None
    assert done.complete_ms >= unknown.complete_ms
    assert len(town.provider.submits) == 1


async def test_a_callback_may_come_before_the_reply(town: Town) -> None:
    """The provider calls back while its answer to the order is still on the wire (docs/durable-core.md#callbacks)."""
    town.provider.records["task1"] = Drawing(5)

    async def overtaken(submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await town.callback("task1", submit.token)
        await eventually(lambda: arrived(town))
        return Accepted("task1")

    town.provider.scripts.append(overtaken)
    created = await town.order()
    async with town.delivering():
        await town.submit()
        await settled(town)
    now = await town.store.get(created.id)

    assert (now.state, now.task_id) == (State.RUNNING, "task1")
    assert len(town.provider.submits) == 1


async def arrived(town: Town) -> bool:
    (listed,) = await town.store.list(Page(10))
    return listed.task_id == "task1"


async def test_a_late_refusal_does_not_undo_a_reunion(town: Town) -> None:
    town.provider.records["task1"] = Drawing(5)

    async def contradicting(submit: Submit, connected: Connected) -> Outcome:
        await connected()
        await town.callback("task1", submit.token)
        await eventually(lambda: arrived(town))
        return Ambiguous("ReadTimeout")

    town.provider.scripts.append(contradicting)
    created = await town.order()
    async with town.running():
        now = await reached(town.store, created.id, State.RUNNING)

    assert now.task_id == "task1"
    assert len(town.provider.submits) == 1


async def test_a_thousand_copies_of_a_callback_have_one_effect(town: Town) -> None:
    generation = await running(town)
    fetched = len(town.provider.fetches)
    async with town.delivering():
        told = await asyncio.gather(*(town.callback("task1", code=200) for _ in range(200)))
        await settled(town)
    await town.poll()

    assert told.count(True) == 1
    assert await verdicts(town) == ["done"]
    assert len(town.provider.fetches) == fetched + 1
    assert (await town.store.get(generation.id)).state is State.RUNNING


async def test_a_bare_callback_for_a_known_task_wakes_it(town: Town) -> None:
    await running(town)
    await town.poll()
    asleep = await due_of(town)
    async with town.delivering():
        await town.callback("task1")
        await settled(town)

    assert await due_of(town) < asleep


async def test_a_bare_callback_for_an_unknown_task_ends_as_unknown(town: Town) -> None:
    generation, _ = await lost(town)
    events = await town.store.events(0, 100)
    await town.callback("task-of-somebody")
    async with town.delivering():
        while not all(await verdicts(town)):
            await town.let_time_pass()
            await asyncio.sleep(0.005)

    assert await verdicts(town) == ["unknown"]
    assert (await town.store.get(generation.id)).state in {State.AMBIGUOUS, State.UNKNOWN}
    assert await town.store.events(0, 100) == events


async def test_a_bare_callback_that_overtakes_the_reply_is_kept_until_it_fits(town: Town) -> None:
    await town.callback("task1")
    async with town.delivering():
        await looked_into(town)
        generation = await running(town)
        await town.let_time_pass()
        await settled(town)

    assert await verdicts(town) == ["done"]
    assert (await town.store.get(generation.id)).state is State.RUNNING


async def test_a_task_that_the_provider_does_not_show_is_not_adopted(town: Town) -> None:
    """Whoever holds the token could name any task; only one that the account really has is believed."""
    generation, token = await lost(town)
    async with town.delivering():
        await town.callback("forged", token)
        await looked_into(town)
        now = await town.store.get(generation.id)
        town.provider.records["forged"] = Drawn((URI,))
        town.provider.owners["forged"] = "somebody else"
        await town.let_time_pass()
        await looked_into(town)

    assert (now.state, now.task_id) == (State.AMBIGUOUS, "")
    assert (await town.store.get(generation.id)).task_id == ""


async def test_a_task_of_another_order_is_not_adopted(town: Town) -> None:
    """Its own token came with it."""
    other = await running(town)
    its_token = town.provider.submits[-1].token
    generation, token = await lost(town)
    town.provider.records[other.task_id] = Drawn((URI,))
    async with town.delivering():
        await town.callback(other.task_id, its_token)
        await settled(town)
        await town.callback(other.task_id, token)
        await settled(town)

    assert await verdicts(town) == ["done", "foreign"]
    assert (await town.store.get(generation.id)).task_id == ""
    assert (await town.store.get(other.task_id)).id == other.id


async def test_one_poisoned_callback_does_not_stop_its_neighbours(town: Town) -> None:
    poisoned, token = await lost(town)
    generation, good = await lost(town)
    town.provider.records.update(task8=Drawing(1), task9=Drawing(1))
    honest = town.provider.fetch

    async def fetch(task_id: str, key: object) -> object:
        if task_id == "task8":
            raise ZeroDivisionError
        return await honest(task_id, key)  # type: ignore[arg-type] # passed on as it came

    town.provider.fetch = fetch  # type: ignore[method-assign, assignment] # a provider that breaks its promise
    async with town.delivering():
        await town.callback("task8", token)
        await town.callback("task9", good)
        await reached(town.store, generation.id, State.RUNNING)

    assert (await town.store.get(poisoned.id)).state is State.AMBIGUOUS


@pytest.mark.parametrize("order", [(501, 200), (200, 501)])
async def test_the_record_decides_and_not_the_order_of_callbacks(town: Town, order: tuple[int, int]) -> None:
    generation = await running(town)
    town.provider.records["task1"] = Drawn((URI,))
    async with town.running():
        for code in order:
            await town.callback("task1", code=code)
        done = await reached(town.store, generation.id, State.SUCCEEDED)

    assert done.failure is None


async def test_a_callback_that_says_failed_fails_nothing(town: Town) -> None:
    generation = await running(town)
    town.provider.records["task1"] = Drawing(50)
    async with town.delivering():
        await town.callback("task1", code=501)
        await settled(town)
    await town.poll()

    assert (await town.store.get(generation.id)).state is State.RUNNING


@pytest.mark.parametrize("token", ["x", ".", "att_1.", ".secret", "att_nobody.secret", "a\x00b.c", "/../x.y", "é.ü"])
async def test_a_token_that_is_not_ours_is_refused(town: Town, token: str) -> None:
    await lost(town)

    with pytest.raises(PermissionDenied) as caught:
        await town.callback("task9", token)

    assert caught.value.reason == "INVALID_TOKEN"
    assert await verdicts(town) == []


async def test_a_token_must_be_right_to_the_last_letter(town: Town) -> None:
    _, token = await lost(town)
    _, other = await lost(town)
    swapped = f"{token.partition('.')[0]}.{other.partition('.')[2]}"

    for forged in (token[:-1], token + "x", swapped, token.partition(".")[0]):
        with pytest.raises(PermissionDenied):
            await town.callback("task9", forged)
    assert await verdicts(town) == []


async def test_a_callback_of_an_unknown_kind_is_refused(town: Town) -> None:
    with pytest.raises(NotFound):
        await town.mailbox.receive("video-generated", "", b'{"taskId":"a"}', {})


async def test_an_unsigned_callback_is_refused_once_a_key_is_set(town: Town) -> None:
    town = replace(town, webhook_keys=("webhook-key",))

    with pytest.raises(Unauthenticated):
        await town.callback("task1")

    assert await verdicts(town) == []


async def test_a_body_of_no_known_shape_is_refused(town: Town) -> None:
    with pytest.raises(InvalidArgument):
        await town.mailbox.receive(KIND, "", b"<html>", {})


async def test_a_broken_record_reunites_and_fails(town: Town) -> None:
    generation, token = await lost(town)
    town.provider.records["task9"] = Broken(501, "It failed.")
    async with town.running():
        await town.callback("task9", token, code=501)
        ended = await reached(town.store, generation.id, State.FAILED)

    assert ended.failure
    assert ended.failure.message == "It failed."


async def test_an_upstream_that_is_away_postpones_the_reunion(town: Town) -> None:
    generation, token = await lost(town)
    town.provider.records["task9"] = Unreadable("HTTP 502")
    async with town.delivering():
        await town.callback("task9", token)
        await looked_into(town)
        town.provider.records["task9"] = Drawing(1)
        await town.let_time_pass()
        now = await reached(town.store, generation.id, State.RUNNING)

    assert now.task_id == "task9"


class AwayStore:
    """The store, whose database is away for the first looks at an attempt."""

    def __init__(self, town: Town, looks: int) -> None:
        self._store = town.store
        self._looks = looks

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def attempt(self, attempt_id: str) -> Attempt | None:
        self._looks -= 1
        if self._looks >= 0:
            raise Unavailable("The database is away.")
        return await self._store.attempt(attempt_id)


async def test_a_database_that_is_away_is_no_fault_of_the_webhook(town: Town) -> None:
    """It is neither counted as a look, of which there are only so many, nor logged with a trace."""
    generation, token = await lost(town)
    town.provider.records["task9"] = Drawing(1)
    await town.callback("task9", token)
    store = AwayStore(town, PATIENCE_TRIES + 3)
    crew = town.crew
    latecomers = Latecomers(town.store, town.archive, town.plan)
    postman = Postman(store, town.inbox, town.bell, crew.poller, latecomers, parking=town.parking)  # type: ignore[arg-type] # passes on what it is not
    with capture_logs() as logs:
        async with supervised([postman.run]):
            while (await town.store.get(generation.id)).state is not State.RUNNING:
                await town.let_time_pass()
                await asyncio.sleep(0.005)

    away = [line for line in logs if line["event"] == "callback_postponed"]
    assert len(away) == PATIENCE_TRIES + 3
    assert not [line for line in logs if line.get("exc_info")]


async def opened(town: Town) -> list[str]:
    """The tasks that open webhooks name."""
    async with town.database.read() as connection:
        return list(await connection.scalars(select(inbox.c.task_id).where(inbox.c.verdict == "").order_by(inbox.c.id)))


async def failed(town: Town) -> tuple[Generation, str]:
    """An order whose record said that it failed, and the token of its attempt."""
    generation = await running(town)
    town.provider.records["task1"] = Broken(501, "It failed.")
    await town.let_time_pass()
    await town.poll()
    assert (await town.store.get(generation.id)).state is State.FAILED
    return generation, town.provider.submits[-1].token


@pytest.mark.parametrize("way", ["token", "bare"])
async def test_a_success_told_of_a_failed_order_is_believed_if_its_record_says_so(town: Town, way: str) -> None:
    """Fail, then success for one task: the picture was made and paid for, and is kept exactly once."""
    generation, token = await failed(town)
    token = token if way == "token" else ""
    town.provider.records["task1"] = Drawn((URI,))
    async with town.running():
        await town.callback("task1", token)
        done = await reached(town.store, generation.id, State.SUCCEEDED)
        await town.callback("task1", token)
        await settled(town)

    assert (done.failure, [output.source_uri for output in done.outputs]) == (None, [URI])
    assert [asked[:2] for asked in town.archive.asked] == [(generation.id, 0)]
    assert len(town.provider.submits) == 1


async def test_a_failure_told_of_a_failed_order_changes_nothing(town: Town) -> None:
    generation, token = await failed(town)
    async with town.delivering():
        await town.callback("task1", token, code=501)
        await settled(town)

    assert await verdicts(town) == ["failed"]
    assert (await town.store.get(generation.id)).state is State.FAILED


async def test_a_record_that_contradicts_a_success_is_read_again(town: Town) -> None:
    """The webhook was heard before the record said failed, for a moment: nobody tells of the success a second time."""
    generation = await running(town)
    async with town.delivering():
        await town.callback("task1", town.provider.submits[-1].token)
        await settled(town)
    town.provider.records["task1"] = Broken(501, "It failed.")
    await town.let_time_pass()
    await town.poll()
    failed_first = (await town.store.get(generation.id)).state
    async with town.running():
        await town.let_time_pass()
        await looked_into(town)
        town.provider.records["task1"] = Drawn((URI,))
        await until_state(town, generation, State.SUCCEEDED)

    assert failed_first is State.FAILED
    assert len(town.archive.asked) == 1


async def until_state(town: Town, generation: Generation, state: State) -> None:
    async def there() -> bool:
        await town.let_time_pass()
        return (await town.store.get(generation.id)).state is state

    await eventually(there)


async def looked_often(town: Town, tries: int) -> None:
    """Wait until the webhooks were looked at that often, or are closed."""

    async def so_often() -> bool:
        await town.let_time_pass()
        async with town.database.read() as connection:
            rows = (await connection.execute(select(inbox.c.tries, inbox.c.verdict))).all()
        return all(row.tries >= tries or row.verdict for row in rows)

    await eventually(so_often)


async def test_a_task_that_is_shown_late_finds_its_order_all_the_same(town: Town) -> None:
    """Invisible for longer than ten minutes: whoever knew the token is heard out for as long as results are kept."""
    generation, token = await lost(town)
    await town.callback("task9", token)
    async with town.running():
        await looked_often(town, PATIENCE_TRIES + 2)
        waiting = await opened(town)
        town.provider.records["task9"] = Drawn((URI,))
        await until_state(town, generation, State.SUCCEEDED)

    assert waiting == ["task9"]
    assert len(town.provider.submits) == 1


async def test_a_late_task_is_asked_for_ever_less_and_not_beyond_what_the_provider_keeps(town: Town) -> None:
    await lost(town)
    token = town.provider.submits[-1].token
    await town.callback("task9", token)
    dues = []
    for days in (1, 13, 15):
        async with town.database.write() as connection:
            aged = inbox.c.due_ms - days * 86_400_000
            await connection.execute(update(inbox).values(tries=PATIENCE_TRIES, due_ms=0, create_ms=aged))
        async with town.delivering():
            await looked_often_once(town)
        async with town.database.read() as connection:
            row = (await connection.execute(select(inbox.c.due_ms - db_now(), inbox.c.verdict))).one()
        dues.append((row[0] > 1_800_000, row.verdict))
        async with town.database.write() as connection:
            await connection.execute(update(inbox).values(due_ms=db_now()))

    assert dues[:2] == [(True, ""), (True, "")]
    assert dues[2][1] == "unknown"


async def looked_often_once(town: Town) -> None:
    async def put_back() -> bool:
        async with town.database.read() as connection:
            row = (await connection.execute(select(inbox.c.due_ms - db_now(), inbox.c.verdict))).one()
        return bool(row.verdict) or row[0] > 60_000

    await eventually(put_back)


async def test_a_repetition_opens_a_webhook_again_that_was_given_up(town: Town) -> None:
    await town.callback("task1")
    async with town.delivering():
        await looked_often(town, PATIENCE_TRIES + 1)
    given_up = await verdicts(town)
    await running(town)
    async with town.delivering():
        told = await town.callback("task1")
        await settled(town)

    assert (given_up, told) == (["unknown"], False)
    assert await verdicts(town) == ["done"]


async def test_one_slow_late_result_does_not_hold_up_the_inbox(town: Town) -> None:
    generation, token = await lost(town)
    town.provider.records["task9"] = Drawn((URI,))
    await town.store.accept(generation.attempt_id, "task9", 0)
    await town.poll()
    await town.keep()
    town.provider.records["late"] = Drawn((f"{URI}?late",))
    release, asked, honest = asyncio.Event(), asyncio.Event(), town.archive.keep

    async def slow(*arguments: object) -> object:
        asked.set()
        await release.wait()
        return await honest(*arguments)  # type: ignore[arg-type] # passed on as it came

    town.archive.keep = slow  # type: ignore[method-assign, assignment] # a source that takes minutes
    other, its_token = await lost(town)
    town.provider.records["task8"] = Drawing(1)
    async with town.delivering():
        await town.callback("late", token)
        await asyncio.wait_for(asked.wait(), 20)
        await town.callback("task8", its_token)
        await reached(town.store, other.id, State.RUNNING)
        still_open = await opened(town)
        release.set()
        await settled(town)

    assert "late" in still_open
    assert len((await town.store.get(generation.id)).outputs) == 2


async def test_a_reply_with_the_id_of_another_order_is_a_lost_answer(town: Town) -> None:
    """The provider answers two orders with one id: the second's own comes by its webhook."""
    first = await running(town)
    town.provider.scripts.append(answering(Accepted("task1")))
    town.provider.scripts.append(answering(Accepted("task1")))
    second, third = await town.order(), await town.order()
    await town.submit()
    same_account = [
        generation
        for generation in [await town.store.get(second.id), await town.store.get(third.id)]
        if generation.state is State.AMBIGUOUS
    ]
    assert same_account, "of three orders at two accounts two share one, and so one id"
    orphan = same_account[0]
    token = next(s.token for s in town.provider.submits if s.token.startswith(orphan.attempt_id))
    town.provider.records["own"] = Drawn((URI,))
    async with town.running():
        await town.callback("own", token)
        done = await reached(town.store, orphan.id, State.SUCCEEDED)

    assert (done.task_id, len(done.outputs)) == ("own", 1)
    assert (await town.store.get(first.id)).attempt_id == first.attempt_id
    assert len(town.provider.submits) == 3


@pytest.mark.parametrize("answered", ["unknown", "task1"])
async def test_a_reply_with_an_id_that_its_account_does_not_show_loses_nothing(town: Town, answered: str) -> None:
    """Of another account's task, or of none: the webhook with the token names the one that was made."""
    other = await running(town)
    town.provider.records["task1"] = Drawing(5)
    town.provider.scripts.append(answering(Accepted(answered)))
    order = await town.order()
    await town.submit()
    generation = await town.store.get(order.id)
    token = town.provider.submits[-1].token
    town.provider.records["own"] = Drawn((URI,))
    async with town.running():
        await town.callback("own", token)
        done = await reached(town.store, generation.id, State.SUCCEEDED)

    assert (done.task_id, [output.source_uri for output in done.outputs]) == ("own", [URI])
    assert (await town.store.get(other.id)).state is State.RUNNING
    assert len(town.provider.submits) == 2
