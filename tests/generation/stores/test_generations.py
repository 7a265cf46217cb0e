"""Orders are stored once, and only the holder moves a generation, by legal moves, on every engine.

Each move and its event are one transaction. Any history of orders, claims, moves, facts and cancellations ends where a
small reference says it must.
"""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from sqlalchemy import func, select

from services.chassis.database import Database, connect_database
from services.chassis.errors import AlreadyExists
from services.chassis.migrations import migrate
from services.chassis.names import new_id
from services.generation.model import (
    AWAITING,
    DECLINABLE,
    FINAL,
    MOVES,
    RESULTLESS,
    RETRYABLE,
    UNANSWERED,
    Callback,
    Draft,
    Failure,
    Generation,
    Output,
    State,
)
from services.generation.outcomes import Refused
from services.generation.ports import Change, FenceLost
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from services.generation.stores.tables import generation as table
from tests.generation.builders import DRAFT, attempt_for, brought, dialed, new, ordered
from tests.generation.conftest import SERVICE, settings_of
from tests.support.awaited import Awaited, awaited
from tests.support.sql import fetch_value

LEGAL = [(state, step) for state, steps in MOVES.items() for step in sorted(steps)]

ILLEGAL = [(state, step) for state in MOVES for step in State if step is not state and step not in MOVES[state]]

BROKEN = Failure("PROVIDER_FAILED", "It broke.", 501)

OUTPUTS = (Output(0, "https://temporary.example/a.png"), Output(1, "https://temporary.example/b.png"))


async def last_event(store: Awaited) -> Generation:
    return (await store.events(0, 1000))[-1].generation


async def moved(store: Awaited, generation: Generation, state: State, change: Change) -> Generation:
    if state is State.DIALING:
        (generation,) = await store.claim([State.READY], 1, 60)
        return await store.dial(generation, attempt_for(generation))
    return await store.move(generation, state, change)


@pytest.mark.parametrize(("state", "step"), LEGAL)
async def test_a_legal_move_is_made_and_told(store: Awaited, state: State, step: State) -> None:
    held = await brought(store, state)

    now = await moved(store, held, step, Change())

    assert (now.id, now.state) == (held.id, step)
    assert await store.get(held.id) == now
    assert await last_event(store) == now
    assert bool(now.complete_ms) == (step in FINAL)


@pytest.mark.parametrize(("state", "step"), ILLEGAL)
async def test_an_illegal_move_is_a_mistake(sqlite_store: Awaited, state: State, step: State) -> None:
    held = await brought(sqlite_store, state)

    with pytest.raises(ValueError, match=step):
        await sqlite_store.move(held, step)

    assert await sqlite_store.get(held.id) == held


@pytest.mark.parametrize("wrong", [{"fence": 7}, {"state": State.RUNNING}, {"id": "gen_nobody"}])
async def test_a_stale_holder_changes_nothing(store: Awaited, wrong: dict[str, Any]) -> None:
    held = await dialed(store)
    events = await store.events(0, 1000)
    stale = replace(held, **wrong)

    with pytest.raises(FenceLost):
        await store.touch(stale, Change(progress=50, outputs=OUTPUTS))

    assert await store.get(held.id) == held
    assert await store.events(0, 1000) == events


async def test_of_two_moves_at_once_one_wins(store: Awaited) -> None:
    held = await brought(store, State.RUNNING)

    ends = (State.STORING, State.FAILED, State.UNKNOWN, State.CANCELED)
    outcomes = await asyncio.gather(*(store.move(held, end) for end in ends), return_exceptions=True)

    won = [outcome for outcome in outcomes if isinstance(outcome, Generation)]
    assert len(won) == 1
    assert sum(isinstance(outcome, FenceLost) for outcome in outcomes) == 3
    assert await store.get(held.id) == won[0]
    assert await last_event(store) == won[0]


async def test_a_failure_is_kept(store: Awaited) -> None:
    held = await brought(store, State.RUNNING)
    now = await store.move(held, State.FAILED, Change(failure=BROKEN))

    assert now.failure == BROKEN
    assert (await last_event(store)).failure == BROKEN


async def test_each_output_has_a_file_name_before_its_copy_and_keeps_it(store: Awaited) -> None:
    """No id can be read off the name, and a copy that is repeated, by whomever, is the same file."""
    held = await brought(store, State.RUNNING)
    storing = await store.move(held, State.STORING, Change(progress=100, outputs=OUTPUTS))
    await store.touch(storing, Change(outputs=tuple(replace(each, key="generated/x.png") for each in OUTPUTS)))

    names = [output.file_stem for output in storing.outputs]
    assert len(set(names)) == len(OUTPUTS)
    assert all(re.fullmatch("[0-9a-f]{32}", name) and name not in storing.id for name in names)
    assert [output.file_stem for output in (await store.get(held.id)).outputs] == names


async def test_outputs_are_added_and_then_updated(store: Awaited) -> None:
    held = await brought(store, State.RUNNING)
    storing = await store.move(held, State.STORING, Change(progress=100, outputs=OUTPUTS))
    kept = replace(OUTPUTS[1], key="generated/x/1.png", content_type="image/png", size=7)
    now = await store.touch(storing, Change(outputs=(kept,)))

    assert (storing.outputs, storing.progress) == (OUTPUTS, 100)
    assert now.outputs == (OUTPUTS[0], kept)
    assert (await last_event(store)).outputs == now.outputs
    assert storing.store_ms


async def test_a_touch_that_nobody_can_see_is_no_event(store: Awaited) -> None:
    held = await brought(store, State.RUNNING)
    events = len(await store.events(0, 1000))
    now = await store.touch(held, Change(due_in=5, tries=3))

    assert now.tries == 3
    assert len(await store.events(0, 1000)) == events


async def test_progress_is_an_event(store: Awaited) -> None:
    held = await brought(store, State.RUNNING)
    now = await store.touch(held, Change(progress=48))

    assert now.progress == 48
    assert await last_event(store) == now


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
async def test_a_cancel_ends_the_lease_of_whoever_works(store: Awaited, state: State) -> None:
    held = await brought(store, state)
    canceled = await store.cancel(held)

    with pytest.raises(FenceLost):
        await store.move(replace(held, state=state), next(iter(sorted(MOVES[state]))))
    with pytest.raises(FenceLost):
        await store.renew(held, 60)
    assert (canceled.state, canceled.fence) == (State.CANCELED, held.fence + 1)
    assert await last_event(store) == canceled


async def test_a_cancel_of_something_that_moved_on_is_refused(store: Awaited) -> None:
    held = await brought(store, State.RUNNING)
    now = await store.move(held, State.STORING)

    with pytest.raises(FenceLost):
        await store.cancel(held)

    assert await store.get(held.id) == now


async def test_news_of_an_unknown_takes_back_its_end(store: Awaited) -> None:
    """UNKNOWN is final until news arrives: then nothing has ended and nothing is wrong."""
    running = await brought(store, State.RUNNING)
    unknown = await store.move(running, State.UNKNOWN, Change(failure=Failure("TIMED_OUT", "Too slow.")))
    storing = await store.move(unknown, State.STORING, Change(outputs=OUTPUTS))

    assert unknown.complete_ms
    assert (storing.failure, storing.complete_ms) == (None, 0)


async def test_a_sender_keeps_its_lease(store: Awaited) -> None:
    await ordered(store)
    (ready,) = await store.claim([State.READY], 1, 60)
    dialing = await store.dial(ready, attempt_for(ready))
    sending = await store.move(dialing, State.SENDING)

    assert await store.claim([State.DIALING, State.SENDING], 10, 60) == []
    assert sending.fence == ready.fence


async def rows(database: Database) -> int:
    return int(await fetch_value(database, select(func.count()).select_from(table)) or 0)


async def test_an_order_is_ready_and_due_at_once(store: Awaited) -> None:
    stored = (await store.insert(new(), "", "hash")).generation
    (claimed,) = await store.claim([State.READY], 10, 60)

    assert (stored.state, stored.draft, stored.fence, stored.outputs) == (State.READY, DRAFT, 0, ())
    assert stored.create_ms == stored.update_ms > 1_600_000_000_000
    assert claimed.id == stored.id


@pytest.mark.parametrize(
    "draft",
    [
        Draft("m", "'; DROP TABLE generation; --"),
        Draft("m", 'quotes " \\ and\nlines\u2028'),
        Draft(
            "m",
            "👩‍👩‍👧 \u202ertl é ﷽",
            ("https://example.org/?a=b&c=%20",),
            "16:9",
            "png",
            {"a": [1, {"b": None}], "c": 1.5},
        ),
    ],
)
async def test_a_draft_is_kept_exactly(store: Awaited, draft: Draft) -> None:
    stored = (await store.insert(new(draft), "", "hash")).generation

    assert (await store.get(stored.id)).draft == draft


async def test_a_repeated_request_joins_the_first(store: Awaited, database: Database) -> None:
    first = await store.insert(new(), "key", "hash")
    again = await store.insert(new(), "key", "hash")

    assert again == replace(first, joined=True)
    assert await rows(database) == 1
    assert len(await store.events(0, 10)) == 1


async def test_a_request_key_belongs_to_its_request(store: Awaited, database: Database) -> None:
    await store.insert(new(), "key", "hash")

    with pytest.raises(AlreadyExists) as caught:
        await store.insert(new(), "key", "another hash")

    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert await rows(database) == 1


async def test_orders_without_a_key_are_all_new(store: Awaited, database: Database) -> None:
    await store.insert(new(), "", "hash")
    await store.insert(new(), "", "hash")

    assert await rows(database) == 2


async def test_twenty_requests_at_once_make_one_order(store: Awaited, database: Database) -> None:
    stored = await asyncio.gather(*(store.insert(new(), "key", "hash") for _ in range(20)))

    assert len({placed.generation.id for placed in stored}) == 1
    assert await rows(database) == 1
    assert len(await store.events(0, 100)) == 1


async def test_twenty_orders_at_once_are_all_stored(store: Awaited, database: Database) -> None:
    await asyncio.gather(*(store.insert(new(), f"key {number}", "hash") for number in range(20)))

    assert await rows(database) == 20


T = TypeVar("T")

WORK = tuple(set(State) - FINAL)

NUMBERS = strategies.integers(0, 2)

NO_LEASE = 0.0  # everything claimed may be claimed again at once, as after a crash


@cache
def template() -> Path:
    """A migrated SQLite file."""
    folder = Path(tempfile.mkdtemp(prefix="kawaii-histories-"))
    migrate(SERVICE, settings_of(folder))
    return folder / f"{SERVICE}.sqlite3"


@dataclass
class Reference:
    """What must be true of one generation: a state, a fence, a task, and the attempt that may name the task."""

    state: State = State.READY
    fence: int = 0
    task: str = ""
    attempt: str = ""
    past: dict[str, str] = field(default_factory=dict)

    def holds(self, held: Generation) -> bool:
        return (self.state, self.fence) == (held.state, held.fence)

    def accept(self, attempt: str, task: str) -> None:
        """A fact: the first id stays, and only the attempt of now speaks for the generation."""
        self.past.setdefault(attempt, task)
        if attempt != self.attempt or self.task:
            return
        self.task = task
        if self.state in UNANSWERED:
            self.state, self.fence = State.RUNNING, self.fence + 1

    def disown(self, attempt: str) -> None:
        """A fact that was wrong: the attempt's answer was lost, and whoever awaited the task waits for another."""
        task = self.past.pop(attempt)
        if (attempt, task) != (self.attempt, self.task):
            return
        self.task, self.fence = "", self.fence + 1
        if self.state in AWAITING:
            self.state = State.AMBIGUOUS


def task_of(named: tuple[str, str], number: int) -> str:
    """A task that the provider made for an attempt; empty when nobody was asked yet."""
    return f"task-{named[1]}-{number}" if named[1] else ""


class Histories(RuleBasedStateMachine):
    """Rules are what processes do, dead and alive; a held generation may be stale at any time."""

    held: Bundle[Generation] = Bundle("held")
    attempts: Bundle[tuple[str, str]] = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        shutil.copy(template(), self.folder.name)
        self.runner = asyncio.Runner()
        self.opened = connect_database(settings_of(Path(self.folder.name)), SERVICE)
        database = self.run(self.opened.__aenter__())
        self.store = awaited(database, SqlGenerationStore())
        self.inbox = awaited(database, SqlInbox())
        self.known: dict[str, Reference] = {}
        self.named_tasks: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        self.events_tell_a_legal_story()
        self.run(self.opened.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @rule(target=held)
    def order(self) -> Generation:
        generation = self.run(self.store.insert(new(), "", "hash")).generation
        self.known[generation.id] = Reference()
        return generation

    @rule(target=held, pick=strategies.randoms(use_true_random=False))
    def claim(self, pick: Any) -> Generation:
        """Takes all that is under way, whoever held it; fences rise."""
        claimed = self.run(self.store.claim(WORK, 100, NO_LEASE))
        for generation in claimed:
            self.known[generation.id].fence += 1
        assert {g.id for g in claimed} == {i for i, r in self.known.items() if r.state in WORK}
        return pick.choice(claimed) if claimed else self.order()

    @rule(target=attempts, held=held)
    def dial(self, held: Generation) -> tuple[str, str]:
        attempt, reference = attempt_for(held), self.known[held.id]
        fresh = reference.holds(held) and held.state is State.READY
        if self.succeeds(self.store.dial(held, attempt), fresh=fresh):
            reference.state, reference.attempt, reference.task = State.DIALING, attempt.id, ""
        return held.id, attempt.id if fresh else reference.attempt

    @rule(target=held, held=held, state=strategies.sampled_from(sorted(State)))
    def move(self, held: Generation, state: State) -> Generation:
        """Any state but those that have a way of their own."""
        reference = self.known[held.id]
        fresh = reference.holds(held) and state in MOVES[held.state]
        own_way = {State.DIALING, State.CANCELED}
        if state not in own_way and self.succeeds(self.store.move(held, state), fresh=fresh):
            reference.state = state
        return self.run(self.store.get(held.id))

    @rule(named=attempts, of=attempts, number=NUMBERS)
    def accept(self, named: tuple[str, str], of: tuple[str, str], number: int) -> None:
        """A reply or a callback, from anybody at any time; the task that it names may be another order's."""
        (generation_id, attempt_id), task = named, task_of(of, number)
        if not attempt_id or not task:
            return
        reference = self.known[generation_id]
        try:
            self.run(self.store.accept(attempt_id, task, 0))
        except AlreadyExists:
            assert self.is_anothers(attempt_id, task)
        else:
            assert not self.is_anothers(attempt_id, task)
            reference.accept(attempt_id, reference.past.get(attempt_id, task))

    @rule(named=attempts, number=NUMBERS)
    def tell(self, named: tuple[str, str], number: int) -> None:
        """A callback with an attempt's token is kept, and not read yet."""
        if task := task_of(named, number):
            self.run(self.inbox.add(Callback(new_id("cb"), "image-generated", named[1], task, 200)))
            self.named_tasks.add((named[1], task))

    @rule(named=attempts, of=attempts, number=NUMBERS)
    def assign(self, named: tuple[str, str], of: tuple[str, str], number: int) -> None:
        """A token and the record say whose a task is: its holder loses it, unless the holder's token named it, too."""
        task = task_of(of, number)
        if not named[1] or not task:
            return
        holder = self.holder(task)
        kept = holder != named[1] and (holder, task) in self.named_tasks
        assert self.run(self.store.assign(named[1], task, 0)) is not kept
        if holder and holder != named[1] and not kept:
            next(known for known in self.known.values() if holder in known.past).disown(holder)

    def holder(self, task: str) -> str:
        """The attempt that was answered with a task; empty when none was."""
        answered = (pair for reference in self.known.values() for pair in reference.past.items())
        return next((attempt for attempt, named in answered if named == task), "")

    def is_anothers(self, attempt: str, task: str) -> bool:
        if holder := self.holder(task):
            return holder != attempt
        tokens = {token for token, named in self.named_tasks if named == task}
        return bool(tokens) and attempt not in tokens

    @rule(named=attempts, state=strategies.sampled_from((State.READY, State.FAILED)))
    def decline(self, named: tuple[str, str], state: State) -> None:
        """A refusal that was recorded late: it counts while the generation waits for this attempt's answer."""
        generation_id, attempt_id = named
        if not attempt_id:
            return
        reference = self.known[generation_id]
        waits = reference.state in DECLINABLE and reference.attempt == attempt_id and not reference.task
        assert self.run(self.store.decline(attempt_id, Refused(429, "No"), state, Change())) == waits
        if waits:
            reference.state, reference.fence = state, reference.fence + 1

    @rule(held=consumes(held))
    def cancel(self, held: Generation) -> None:
        reference = self.known[held.id]
        if held.state not in FINAL and self.succeeds(self.store.cancel(held), fresh=reference.holds(held)):
            reference.state, reference.fence = State.CANCELED, reference.fence + 1

    @rule(target=held, held=held)
    def restart(self, held: Generation) -> Generation:
        """What an owner may order of a generation that ended without pictures."""
        reference = self.known[held.id]
        if held.state in RETRYABLE and self.succeeds(self.store.restart(held), fresh=reference.holds(held)):
            reference.state, reference.fence, reference.task, reference.attempt = (
                State.READY,
                reference.fence + 1,
                "",
                "",
            )
        return self.run(self.store.get(held.id))

    @rule(held=held, named=attempts)
    def deliver(self, held: Generation, named: tuple[str, str]) -> None:
        """Pictures of a task that nobody waited for."""
        reference = self.known[held.id]
        if named[0] != held.id or not named[1] or held.state not in RESULTLESS:
            return
        task = reference.past.get(named[1], f"late-{named[1]}")
        if self.succeeds(self.store.deliver(held, named[1], task, ()), fresh=reference.holds(held)):
            reference.past[named[1]] = task  # no other: no webhook named one that a reply had named
            reference.state, reference.fence = State.STORING, reference.fence + 1
            reference.task, reference.attempt = task, named[1]

    def succeeds(self, work: Coroutine[Any, Any, object], *, fresh: bool) -> bool:
        """Runs a fenced change, which must apply exactly when what is held is fresh and the move is legal."""
        try:
            self.run(work)
        except (FenceLost, ValueError):
            assert not fresh
            return False
        assert fresh
        return True

    @invariant()
    def rows_are_as_the_reference_says(self) -> None:
        for identifier, reference in self.known.items():
            row = self.run(self.store.get(identifier))
            assert (row.state, row.fence, row.task_id) == (reference.state, reference.fence, reference.task)

    def events_tell_a_legal_story(self) -> None:
        last: dict[str, State] = {}
        for event in self.run(self.store.events(0, 10_000)):
            now = event.generation.state
            before = last.get(event.generation.id, now)
            again = before in RETRYABLE | DECLINABLE and now is State.READY
            declined = before in DECLINABLE and now is State.FAILED
            late = before in RESULTLESS and now is State.STORING
            disowned = before in AWAITING and now is State.AMBIGUOUS
            assert now is before or now in MOVES[before] or again or declined or late or disowned
            last[event.generation.id] = now
        assert last == {identifier: reference.state for identifier, reference in self.known.items()}


Histories.TestCase.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)

TestHistories = Histories.TestCase
