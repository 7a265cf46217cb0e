"""Replies that swap the ids of two orders: token and record say whose a task is, in whichever order all arrives."""

from itertools import permutations

import pytest
from sqlalchemy import select

from services.chassis.database import Database
from services.chassis.errors import AlreadyExists
from services.generation.answers import Accepted, Ambiguous, Broken, Drawing, Drawn
from services.generation.core.history import History
from services.generation.model import Draft, Generation, State
from services.generation.stores.tables import attempt, inbox
from tests.generation.town import FAMILY, Town, answering, make_town
from tests.generation.waiting import eventually

CAT, DOG = (f"https://temporary.example/{name}.png" for name in ("cat", "dog"))
STEPS = ("webhook of the cat", "webhook of the dog", "poll and copy")


@pytest.fixture
async def town(database: Database) -> Town:
    """The core with one account, on each engine."""
    return await make_town(database, ("one",))


class Pair:
    """Two orders of one account, and what the provider drew for each."""

    def __init__(self, town: Town, cat: Generation, dog: Generation) -> None:
        self.town, self.cat, self.dog = town, cat, dog
        town.provider.records.update(cat=Drawn((CAT,)), dog=Drawn((DOG,)))
        town.provider.prompts.update(cat="a cat", dog="a dog")

    async def webhook(self, task: str, code: int = 200) -> None:
        mine = self.cat if task == "cat" else self.dog
        now = await self.town.store.get(mine.id)
        token = next(s.token for s in self.town.provider.submits if s.draft.prompt == now.draft.prompt)
        await self.town.callback(task, token, code)

    async def do(self, step: str) -> None:
        town = self.town
        match step:
            case "webhook of the cat" | "webhook of the dog":
                await self.webhook(step.rpartition(" ")[2])
                async with town.delivering():
                    await eventually(self._read)
            case _:
                await town.let_time_pass()
                await town.poll()
                await town.keep()

    async def _read(self) -> bool:
        """Of every webhook, and reminder, something was made."""
        await self.town.let_time_pass()
        async with self.town.database.read() as connection:
            return await connection.scalar(select(inbox.c.id).where(inbox.c.verdict == "")) is None

    async def ended(self) -> tuple[Generation, Generation]:
        """Both with their own pictures, with all loops at work."""

        async def both() -> bool:
            await self.town.let_time_pass()
            cat, dog = await self.town.store.get(self.cat.id), await self.town.store.get(self.dog.id)
            return CAT in uris(cat) and DOG in uris(dog) and all(o.key for o in (*cat.outputs, *dog.outputs))

        async with self.town.running():
            await eventually(both)
        return await self.town.store.get(self.cat.id), await self.town.store.get(self.dog.id)


def uris(generation: Generation) -> list[str]:
    return [output.source_uri for output in generation.outputs]


async def ordered(town: Town, *answers: Accepted | Ambiguous) -> Pair:
    """Orders of a cat and a dog, answered so."""
    town.provider.scripts.extend(map(answering, answers))
    cat = await town.order(draft=Draft(FAMILY, "a cat"))
    await town.submit()
    dog = await town.order(draft=Draft(FAMILY, "a dog"))
    await town.submit()
    return Pair(town, await town.store.get(cat.id), await town.store.get(dog.id))


async def tasks(town: Town) -> list[str]:
    async with town.database.read() as connection:
        return sorted(filter(None, await connection.scalars(select(attempt.c.task_id))))


REPLIES = {
    "swapped": (Accepted("dog"), Accepted("cat")),
    "the other's to both": (Accepted("dog"), Accepted("dog")),
    "the other's, and none": (Accepted("dog"), Ambiguous("ReadTimeout")),
}


@pytest.mark.parametrize("replies", REPLIES)
@pytest.mark.parametrize("steps", list(permutations(STEPS)), ids=", ".join)
async def test_each_order_gets_its_own_picture_once(town: Town, replies: str, steps: tuple[str, ...]) -> None:
    pair = await ordered(town, *REPLIES[replies])
    for step in steps:
        await pair.do(step)
    cat, dog = await pair.ended()

    assert (cat.state, dog.state) == (State.SUCCEEDED, State.SUCCEEDED)
    assert (uris(cat).count(CAT), uris(dog).count(DOG)) == (1, 1)
    assert len(town.provider.submits) == 2
    assert await town.parking.listed() == []
    webhooks_first = steps[-1] == "poll and copy"
    if webhooks_first:
        assert (uris(cat), uris(dog)) == ([CAT], [DOG])
        assert await tasks(town) == ["cat", "dog"]


async def test_an_order_that_loses_a_wrong_task_is_one_whose_answer_was_lost(town: Town) -> None:
    pair = await ordered(town, *REPLIES["the other's, and none"])
    await pair.do("webhook of the dog")
    cat, dog = await town.store.get(pair.cat.id), await town.store.get(pair.dog.id)

    assert (cat.state, cat.task_id, dog.state, dog.task_id) == (State.AMBIGUOUS, "", State.RUNNING, "dog")
    await town.let_time_pass()
    await town.tidy()
    assert (await town.store.get(cat.id)).state is State.UNKNOWN


async def test_a_failure_that_was_told_of_early_is_heard_when_the_wrong_task_is_gone(town: Town) -> None:
    pair = await ordered(town, *REPLIES["swapped"])
    town.provider.records.update(cat=Broken(501, "It failed."), dog=Drawing(10))
    await pair.webhook("cat", 501)
    await pair.webhook("dog")

    async def told() -> bool:
        await town.let_time_pass()
        return (await town.store.get(pair.cat.id)).state is State.FAILED

    async with town.running():
        await eventually(told)
        town.provider.records["dog"] = Drawn((DOG,))

        async def drawn() -> bool:
            await town.let_time_pass()
            return (await town.store.get(pair.dog.id)).state is State.SUCCEEDED

        await eventually(drawn)
    assert uris(await town.store.get(pair.dog.id)) == [DOG]


async def test_a_task_that_its_own_token_named_is_taken_by_no_other(town: Town) -> None:
    pair = await ordered(town, Accepted("cat"), Ambiguous("ReadTimeout"))
    del town.provider.prompts["cat"]  # the record quotes none, and so proves nothing against the other token
    await pair.do("webhook of the cat")
    (token,) = [s.token for s in town.provider.submits if s.draft.prompt == "a dog"]
    await town.callback("cat", token)
    async with town.delivering():
        await eventually(lambda: foreign(town))

    assert (await town.store.get(pair.cat.id)).task_id == "cat"
    assert (await town.store.get(pair.dog.id)).task_id == ""


async def foreign(town: Town) -> bool:
    async with town.database.read() as connection:
        return await connection.scalar(select(inbox.c.id).where(inbox.c.verdict == "foreign")) is not None


async def test_an_operator_may_adopt_a_task_that_a_reply_gave_to_another_order(town: Town) -> None:
    pair = await ordered(town, *REPLIES["the other's, and none"])
    history = History(town.store, town.crew.poller, town.keys, town.parking)
    await history.adopt(pair.dog.attempt_id, "dog")

    assert (await town.store.get(pair.dog.id)).task_id == "dog"
    assert (await town.store.get(pair.cat.id)).state is State.AMBIGUOUS


async def test_an_operator_may_not_adopt_a_task_whose_record_fits_its_holder(town: Town) -> None:
    pair = await ordered(town, Accepted("cat"), Ambiguous("ReadTimeout"))
    del town.provider.prompts["cat"]
    history = History(town.store, town.crew.poller, town.keys, town.parking)

    with pytest.raises(AlreadyExists):
        await history.adopt(pair.dog.attempt_id, "cat")

    assert (await town.store.get(pair.cat.id)).task_id == "cat"
