"""Replies that swap the ids of two orders: token and record say whose a task is, in whichever order all arrives."""

from itertools import permutations

import pytest
from sqlalchemy import select

from services.chassis.database import Database
from services.chassis.errors import AlreadyExists
from services.generation.core.timeline import Timeline
from services.generation.model import Draft, Generation, State
from services.generation.outcomes import Accepted, Ambiguous, Completed, InProgress, TaskFailed
from services.generation.stores.tables import attempt, inbox
from tests.generation.harness import FAMILY, Harness, answering, make_harness
from tests.support.polling import eventually

CAT, DOG = (f"https://temporary.example/{name}.png" for name in ("cat", "dog"))
STEPS = ("webhook of the cat", "webhook of the dog", "poll and copy")


@pytest.fixture
async def harness(database: Database) -> Harness:
    """The core with one account, on each engine."""
    return await make_harness(database, ("one",))


class Pair:
    """Two orders of one account, and what the provider drew for each."""

    def __init__(self, harness: Harness, cat: Generation, dog: Generation) -> None:
        self.harness, self.cat, self.dog = harness, cat, dog
        harness.provider.records.update(cat=Completed((CAT,)), dog=Completed((DOG,)))
        harness.provider.prompts.update(cat="a cat", dog="a dog")

    async def webhook(self, task: str, code: int = 200) -> None:
        mine = self.cat if task == "cat" else self.dog
        now = await self.harness.store.get(mine.id)
        token = next(s.token for s in self.harness.provider.submits if s.draft.prompt == now.draft.prompt)
        await self.harness.callback(task, token, code)

    async def do(self, step: str) -> None:
        harness = self.harness
        match step:
            case "webhook of the cat" | "webhook of the dog":
                await self.webhook(step.rpartition(" ")[2])
                async with harness.delivering():
                    await eventually(self._read)
            case _:
                await harness.let_time_pass()
                await harness.poll()
                await harness.copy()

    async def _read(self) -> bool:
        """Of every callback, and reminder, something was made."""
        await self.harness.let_time_pass()
        async with self.harness.database.read() as connection:
            return await connection.scalar(select(inbox.c.id).where(inbox.c.verdict == "")) is None

    async def ended(self) -> tuple[Generation, Generation]:
        """Both with their own pictures, with all loops at work."""

        async def both() -> bool:
            await self.harness.let_time_pass()
            cat, dog = await self.harness.store.get(self.cat.id), await self.harness.store.get(self.dog.id)
            return CAT in uris(cat) and DOG in uris(dog) and all(o.key for o in (*cat.outputs, *dog.outputs))

        async with self.harness.running():
            await eventually(both)
        return await self.harness.store.get(self.cat.id), await self.harness.store.get(self.dog.id)


def uris(generation: Generation) -> list[str]:
    return [output.source_uri for output in generation.outputs]


async def ordered(harness: Harness, *answers: Accepted | Ambiguous) -> Pair:
    """Orders of a cat and a dog, answered so."""
    harness.provider.scripts.extend(map(answering, answers))
    cat = await harness.order(draft=Draft(FAMILY, "a cat"))
    await harness.submit()
    dog = await harness.order(draft=Draft(FAMILY, "a dog"))
    await harness.submit()
    return Pair(harness, await harness.store.get(cat.id), await harness.store.get(dog.id))


async def tasks(harness: Harness) -> list[str]:
    async with harness.database.read() as connection:
        return sorted(filter(None, await connection.scalars(select(attempt.c.task_id))))


REPLIES = {
    "swapped": (Accepted("dog"), Accepted("cat")),
    "the other's to both": (Accepted("dog"), Accepted("dog")),
    "the other's, and none": (Accepted("dog"), Ambiguous("ReadTimeout")),
}


@pytest.mark.parametrize("replies", REPLIES)
@pytest.mark.parametrize("steps", list(permutations(STEPS)), ids=", ".join)
async def test_each_order_gets_its_own_picture_once(harness: Harness, replies: str, steps: tuple[str, ...]) -> None:
    pair = await ordered(harness, *REPLIES[replies])
    for step in steps:
        await pair.do(step)
    cat, dog = await pair.ended()

    assert (cat.state, dog.state) == (State.SUCCEEDED, State.SUCCEEDED)
    assert (uris(cat).count(CAT), uris(dog).count(DOG)) == (1, 1)
    assert len(harness.provider.submits) == 2
    assert await harness.parking.listed() == []
    webhooks_first = steps[-1] == "poll and copy"
    if webhooks_first:
        assert (uris(cat), uris(dog)) == ([CAT], [DOG])
        assert await tasks(harness) == ["cat", "dog"]


async def test_an_order_that_loses_a_wrong_task_is_one_whose_answer_was_lost(harness: Harness) -> None:
    pair = await ordered(harness, *REPLIES["the other's, and none"])
    await pair.do("webhook of the dog")
    cat, dog = await harness.store.get(pair.cat.id), await harness.store.get(pair.dog.id)

    assert (cat.state, cat.task_id, dog.state, dog.task_id) == (State.AMBIGUOUS, "", State.RUNNING, "dog")
    await harness.let_time_pass()
    await harness.recover()
    assert (await harness.store.get(cat.id)).state is State.UNKNOWN


async def test_a_failure_that_was_told_of_early_is_heard_when_the_wrong_task_is_gone(harness: Harness) -> None:
    pair = await ordered(harness, *REPLIES["swapped"])
    harness.provider.records.update(cat=TaskFailed(501, "It failed."), dog=InProgress(10))
    await pair.webhook("cat", 501)
    await pair.webhook("dog")

    async def told() -> bool:
        await harness.let_time_pass()
        return (await harness.store.get(pair.cat.id)).state is State.FAILED

    async with harness.running():
        await eventually(told)
        harness.provider.records["dog"] = Completed((DOG,))

        async def drawn() -> bool:
            await harness.let_time_pass()
            return (await harness.store.get(pair.dog.id)).state is State.SUCCEEDED

        await eventually(drawn)
    assert uris(await harness.store.get(pair.dog.id)) == [DOG]


async def test_a_task_that_its_own_token_named_is_taken_by_no_other(harness: Harness) -> None:
    pair = await ordered(harness, Accepted("cat"), Ambiguous("ReadTimeout"))
    del harness.provider.prompts["cat"]  # the record quotes none, and so proves nothing against the other token
    await pair.do("webhook of the cat")
    (token,) = [s.token for s in harness.provider.submits if s.draft.prompt == "a dog"]
    await harness.callback("cat", token)
    async with harness.delivering():
        await eventually(lambda: foreign(harness))

    assert (await harness.store.get(pair.cat.id)).task_id == "cat"
    assert (await harness.store.get(pair.dog.id)).task_id == ""


async def foreign(harness: Harness) -> bool:
    async with harness.database.read() as connection:
        return await connection.scalar(select(inbox.c.id).where(inbox.c.verdict == "foreign")) is not None


async def test_an_operator_may_adopt_a_task_that_a_reply_gave_to_another_order(harness: Harness) -> None:
    pair = await ordered(harness, *REPLIES["the other's, and none"])
    timeline = Timeline(harness.store, harness.workers.poller, harness.key_pool, harness.parking)
    await timeline.adopt(pair.dog.attempt_id, "dog")

    assert (await harness.store.get(pair.dog.id)).task_id == "dog"
    assert (await harness.store.get(pair.cat.id)).state is State.AMBIGUOUS


async def test_an_operator_may_not_adopt_a_task_whose_record_fits_its_holder(harness: Harness) -> None:
    pair = await ordered(harness, Accepted("cat"), Ambiguous("ReadTimeout"))
    del harness.provider.prompts["cat"]
    timeline = Timeline(harness.store, harness.workers.poller, harness.key_pool, harness.parking)

    with pytest.raises(AlreadyExists):
        await timeline.adopt(pair.dog.attempt_id, "cat")

    assert (await harness.store.get(pair.cat.id)).task_id == "cat"
