"""Only its holder moves a generation, by legal moves; each move and its event are one transaction, on every engine."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from services.generation.model import FINAL, MOVES, Failure, Generation, Output, State
from services.generation.ports import Change, FenceLost, GenerationStore
from tests.generation.builders import attempt_for, brought, dialed, ordered

LEGAL = [(state, step) for state, steps in MOVES.items() for step in sorted(steps)]
ILLEGAL = [(state, step) for state in MOVES for step in State if step is not state and step not in MOVES[state]]
BROKEN = Failure("PROVIDER_FAILED", "It broke.", 501)
OUTPUTS = (Output(0, "https://temporary.example/a.png"), Output(1, "https://temporary.example/b.png"))


async def last_event(store: GenerationStore) -> Generation:
    return (await store.events(0, 1000))[-1].generation


async def moved(store: GenerationStore, generation: Generation, state: State, change: Change) -> Generation:
    if state is State.DIALING:
        (generation,) = await store.claim([State.READY], 1, 60)
        return await store.dial(generation, attempt_for(generation))
    return await store.move(generation, state, change)


@pytest.mark.parametrize(("state", "step"), LEGAL)
async def test_a_legal_move_is_made_and_told(store: GenerationStore, state: State, step: State) -> None:
    held = await brought(store, state)

    now = await moved(store, held, step, Change())

    assert (now.id, now.state) == (held.id, step)
    assert await store.get(held.id) == now
    assert await last_event(store) == now
    assert bool(now.complete_ms) == (step in FINAL)


@pytest.mark.parametrize(("state", "step"), ILLEGAL)
async def test_an_illegal_move_is_a_mistake(sqlite_store: GenerationStore, state: State, step: State) -> None:
    held = await brought(sqlite_store, state)

    with pytest.raises(ValueError, match=step):
        await sqlite_store.move(held, step)

    assert await sqlite_store.get(held.id) == held


@pytest.mark.parametrize("wrong", [{"fence": 7}, {"state": State.RUNNING}, {"id": "gen_nobody"}])
async def test_a_stale_holder_changes_nothing(store: GenerationStore, wrong: dict[str, Any]) -> None:
    held = await dialed(store)
    events = await store.events(0, 1000)
    stale = replace(held, **wrong)

    with pytest.raises(FenceLost):
        await store.touch(stale, Change(progress=50, outputs=OUTPUTS))

    assert await store.get(held.id) == held
    assert await store.events(0, 1000) == events


async def test_of_two_moves_at_once_one_wins(store: GenerationStore) -> None:
    held = await brought(store, State.RUNNING)

    ends = (State.STORING, State.FAILED, State.UNKNOWN, State.CANCELED)
    outcomes = await asyncio.gather(*(store.move(held, end) for end in ends), return_exceptions=True)

    won = [outcome for outcome in outcomes if isinstance(outcome, Generation)]
    assert len(won) == 1
    assert sum(isinstance(outcome, FenceLost) for outcome in outcomes) == 3
    assert await store.get(held.id) == won[0]
    assert await last_event(store) == won[0]


async def test_a_failure_is_kept(store: GenerationStore) -> None:
    held = await brought(store, State.RUNNING)
    now = await store.move(held, State.FAILED, Change(failure=BROKEN))

    assert now.failure == BROKEN
    assert (await last_event(store)).failure == BROKEN


async def test_each_output_has_a_file_name_before_its_copy_and_keeps_it(store: GenerationStore) -> None:
    """No id can be read off the name, and a copy that is repeated, by whomever, is the same file."""
    held = await brought(store, State.RUNNING)
    storing = await store.move(held, State.STORING, Change(progress=100, outputs=OUTPUTS))
    await store.touch(storing, Change(outputs=tuple(replace(each, key="generated/x.png") for each in OUTPUTS)))

    names = [output.file_stem for output in storing.outputs]
    assert len(set(names)) == len(OUTPUTS)
    assert all(re.fullmatch("[0-9a-f]{32}", name) and name not in storing.id for name in names)
    assert [output.file_stem for output in (await store.get(held.id)).outputs] == names


async def test_outputs_are_added_and_then_updated(store: GenerationStore) -> None:
    held = await brought(store, State.RUNNING)
    storing = await store.move(held, State.STORING, Change(progress=100, outputs=OUTPUTS))
    kept = replace(OUTPUTS[1], key="generated/x/1.png", content_type="image/png", size=7)
    now = await store.touch(storing, Change(outputs=(kept,)))

    assert (storing.outputs, storing.progress) == (OUTPUTS, 100)
    assert now.outputs == (OUTPUTS[0], kept)
    assert (await last_event(store)).outputs == now.outputs
    assert storing.store_ms


async def test_a_touch_that_nobody_can_see_is_no_event(store: GenerationStore) -> None:
    held = await brought(store, State.RUNNING)
    events = len(await store.events(0, 1000))
    now = await store.touch(held, Change(due_in=5, tries=3))

    assert now.tries == 3
    assert len(await store.events(0, 1000)) == events


async def test_progress_is_an_event(store: GenerationStore) -> None:
    held = await brought(store, State.RUNNING)
    now = await store.touch(held, Change(progress=48))

    assert now.progress == 48
    assert await last_event(store) == now


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
async def test_a_cancel_ends_the_lease_of_whoever_works(store: GenerationStore, state: State) -> None:
    held = await brought(store, state)
    canceled = await store.cancel(held)

    with pytest.raises(FenceLost):
        await store.move(replace(held, state=state), next(iter(sorted(MOVES[state]))))
    with pytest.raises(FenceLost):
        await store.renew(held, 60)
    assert (canceled.state, canceled.fence) == (State.CANCELED, held.fence + 1)
    assert await last_event(store) == canceled


async def test_a_cancel_of_something_that_moved_on_is_refused(store: GenerationStore) -> None:
    held = await brought(store, State.RUNNING)
    now = await store.move(held, State.STORING)

    with pytest.raises(FenceLost):
        await store.cancel(held)

    assert await store.get(held.id) == now


async def test_news_of_an_unknown_takes_back_its_end(store: GenerationStore) -> None:
    """UNKNOWN is final until news arrives: then nothing has ended and nothing is wrong."""
    running = await brought(store, State.RUNNING)
    unknown = await store.move(running, State.UNKNOWN, Change(failure=Failure("TIMED_OUT", "Too slow.")))
    storing = await store.move(unknown, State.STORING, Change(outputs=OUTPUTS))

    assert unknown.complete_ms
    assert (storing.failure, storing.complete_ms) == (None, 0)


async def test_a_sender_keeps_its_lease(store: GenerationStore) -> None:
    await ordered(store)
    (ready,) = await store.claim([State.READY], 1, 60)
    dialing = await store.dial(ready, attempt_for(ready))
    sending = await store.move(dialing, State.SENDING)

    assert await store.claim([State.DIALING, State.SENDING], 10, 60) == []
    assert sending.fence == ready.fence
