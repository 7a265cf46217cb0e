"""Makes generations and brings them into a state by legal moves."""

from collections.abc import Iterator
from itertools import count

from services.generation.model import MOVES, Attempt, Draft, Generation, State
from services.generation.ports import NOTHING, GenerationStore

numbers: Iterator[int] = count(1)

DRAFT = Draft(
    "gpt4o-image", "a cat, 猫 🐈", ("https://example.org/a.png",), "1:1", "", {"isEnhance": True, "nVariants": 2}
)


def new(draft: Draft = DRAFT) -> Generation:
    """A generation that nobody has stored yet; later ones have greater ids."""
    return Generation(f"gen_{next(numbers):08}", draft, "gpt4o-image")


def attempt_for(generation: Generation, account: str = "one") -> Attempt:
    """A new attempt to make it."""
    return Attempt(f"att_{next(numbers):08}", generation.id, account, "print", "digest")


async def ordered(store: GenerationStore, request_key: str = "") -> Generation:
    """A stored order."""
    return await store.insert(new(), request_key, "hash")


async def dialed(store: GenerationStore) -> Generation:
    """An order whose attempt has begun, leased to us."""
    stored = await ordered(store)
    claimed = [row for row in await store.claim([State.READY], 100, 60) if row.id == stored.id]
    return await store.dial(claimed[0], attempt_for(stored))


async def brought(store: GenerationStore, state: State) -> Generation:
    """A generation in a state, by the shortest legal way."""
    generation = await ordered(store)
    for step in way_to(state):
        if step is State.DIALING:
            (generation,) = [r for r in await store.claim([State.READY], 100, 60) if r.id == generation.id]
            generation = await store.dial(generation, attempt_for(generation))
        else:
            generation = await store.move(generation, step, NOTHING)
    return generation


def way_to(state: State) -> list[State]:
    """The shortest legal way from READY."""
    ways: list[list[State]] = [[State.READY]]
    for way in ways:
        if way[-1] is state:
            return way[1:]
        ways += [[*way, step] for step in sorted(MOVES[way[-1]]) if step not in way]
    raise AssertionError(f"no way to {state}")
