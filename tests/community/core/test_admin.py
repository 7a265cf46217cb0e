"""Work of the community at which our own code fails again and again is parked, shown, and released."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from kawaii.community.v1 import admin_pb2 as communityadminpb
from sqlalchemy import update

from services.chassis.database import Database
from services.chassis.errors import NotFound
from services.chassis.parking import MAX_FAULTS
from services.community.composition import CommunityService
from services.community.model import Balance, OrderState, State, UnreadableEvent
from services.community.stores import Stores
from services.community.stores.tables import artwork_order, discarded_object
from tests.community.fakes import FakeGenerations, FakeObjects, lost, taken
from tests.community.steps import ANN, finished_draft, order_of, ordered
from tests.community.stubs import Client, Refused


class Bug:
    """A method of ours that fails for some work, until it is mended."""

    def __init__(self, owner: object, name: str, subject: str) -> None:
        self.tries = 0
        self._subject, self._mended = subject, False
        self._honest: Callable[..., Any] = getattr(owner, name)
        setattr(owner, name, self._call)

    def mend(self) -> None:
        self._mended = True

    def _call(self, *arguments: Any) -> Any:
        if not self._mended and self._subject in map(str, arguments):
            self.tries += 1
            raise RecursionError("nested objects, and a prompt")
        return self._honest(*arguments)


async def make_due(database: Database) -> None:
    """As when every pause and lease has run out; what has ended is never due."""
    waiting = artwork_order.c.state.in_(["PENDING", "RUNNING"])
    for due in (update(artwork_order).where(waiting), update(discarded_object)):
        await database.write(lambda transaction, each: transaction.execute(each.values(due_ms=0)), due)


async def test_an_order_that_our_code_fails_at_is_parked_shown_and_carried_on_after_its_release(
    community: CommunityService, fake_generations: FakeGenerations, database: Database
) -> None:
    card, other_replica = await ordered(community), await ordered(community)
    order = order_of(card)
    fake_generations.end("gen_1")
    fake_generations.end("gen_2")
    bug = Bug(fake_generations, "get", "gen_1")

    for _ in range(MAX_FAULTS + 2):
        await make_due(database)
        await community.orders.process_due()

    now = await community.artworks.get(ANN, card.artwork.id)
    assert bug.tries == MAX_FAULTS
    assert (now.artwork.state, order_of(now).state, order_of(now).reason) == (
        State.FAILED,
        OrderState.TIMED_OUT,
        "PARKED",
    )
    assert (await community.artworks.get(ANN, other_replica.artwork.id)).artwork.state is State.DRAFT
    assert await community.credits.balance(ANN) == Balance(4, 0)
    (fault,) = await community.admin_operations.parked()
    assert (fault.loop, fault.work_id, fault.count) == ("orders", order.id, MAX_FAULTS)
    assert "RecursionError" in fault.cause
    assert "prompt" not in fault.cause + fault.trace

    bug.mend()
    await community.admin_operations.release("orders", order.id)
    resumed = order_of(await community.artworks.get(ANN, card.artwork.id))
    await community.orders.process_due()

    assert order_of(now).complete_ms
    assert (resumed.state, resumed.reason, resumed.message, resumed.complete_ms) == (OrderState.RUNNING, "", "", 0)
    assert (await community.artworks.get(ANN, card.artwork.id)).artwork.state is State.DRAFT
    assert await community.credits.balance(ANN) == Balance(1, 0)
    assert await community.admin_operations.parked() == []


async def test_an_order_that_was_never_taken_is_placed_once_it_is_released(
    community: CommunityService, fake_generations: FakeGenerations, database: Database
) -> None:
    fake_generations.answer = lost
    fake_generations.away = True
    card = await ordered(community)
    fake_generations.away = False
    order = order_of(card)
    bug = Bug(fake_generations, "place", order.id)
    for _ in range(MAX_FAULTS):
        await make_due(database)
        await community.orders.process_due()
    assert fake_generations.placed == []
    assert await community.credits.balance(ANN) == Balance(7, 0)

    bug.mend()
    fake_generations.answer = taken
    await community.admin_operations.release("orders", order.id)
    await community.orders.process_due()
    await community.event_consumer.consume(fake_generations.end("gen_1"))

    assert (await community.artworks.get(ANN, card.artwork.id)).artwork.state is State.DRAFT
    assert await community.credits.balance(ANN) == Balance(4, 0)


async def test_a_deletion_that_our_code_fails_at_is_parked_and_done_after_its_release(
    community: CommunityService, fake_generations: FakeGenerations, fake_objects: FakeObjects, database: Database
) -> None:
    first, second = await finished_draft(community, fake_generations), await finished_draft(community, fake_generations)
    for card in (first, second):
        await community.artworks.delete(ANN, card.artwork.id)
    bug = Bug(fake_objects, "delete", first.artwork.object_key)

    for _ in range(MAX_FAULTS + 2):
        await make_due(database)
        await community.deletion_worker.delete_due()

    assert bug.tries == MAX_FAULTS
    assert fake_objects.deleted == [second.artwork.object_key]
    (fault,) = await community.admin_operations.parked()
    assert (fault.loop, fault.work_id) == ("deletions", first.artwork.object_key)

    bug.mend()
    await community.admin_operations.release("deletions", first.artwork.object_key)
    await community.deletion_worker.delete_due()
    assert set(fake_objects.deleted) == {first.artwork.object_key, second.artwork.object_key}


async def test_a_parked_deletion_is_due_at_once_when_it_is_released(
    community: CommunityService, fake_generations: FakeGenerations, fake_objects: FakeObjects, database: Database
) -> None:
    """The lease of the round that failed last is not waited for."""
    card = await finished_draft(community, fake_generations)
    await community.artworks.delete(ANN, card.artwork.id)
    bug = Bug(fake_objects, "delete", card.artwork.object_key)
    for _ in range(MAX_FAULTS):
        await make_due(database)
        await community.deletion_worker.delete_due()

    bug.mend()
    await community.admin_operations.release("deletions", card.artwork.object_key)
    await community.deletion_worker.delete_due()

    assert bug.tries == MAX_FAULTS
    assert fake_objects.deleted == [card.artwork.object_key]


@pytest.mark.parametrize("unread", [True, False])
async def test_an_event_that_our_code_fails_at_stops_none_behind_it_and_its_order_is_asked_about(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations, *, unread: bool
) -> None:
    first, second = await ordered(community), await ordered(community)
    poison, healthy = fake_generations.end("gen_1"), fake_generations.end("gen_2")
    if unread:
        fake_generations.outbox[0] = UnreadableEvent("gen_1", 1, RecursionError("a prompt"))  # type: ignore[call-overload]
    else:
        Bug(stores.orders, "apply", str(poison))

    following = asyncio.create_task(community.event_consumer.consume_stream())
    while await stores.database.read(stores.orders.cursor) < healthy.event_sequence:
        assert not following.done(), following.exception()
        await asyncio.sleep(0)
    following.cancel()
    assert (await community.artworks.get(ANN, second.artwork.id)).artwork.state is State.DRAFT
    assert (await community.artworks.get(ANN, first.artwork.id)).artwork.state is State.GENERATING

    assert await community.orders.process_due() == 1

    assert (await community.artworks.get(ANN, first.artwork.id)).artwork.state is State.DRAFT
    assert await community.credits.balance(ANN) == Balance(1, 0)


async def test_operators_list_and_release_what_is_parked(
    client: Client,
    community: CommunityService,
    fake_generations: FakeGenerations,
    fake_objects: FakeObjects,
    database: Database,
    refused: Refused,
) -> None:
    card = await finished_draft(community, fake_generations)
    await community.artworks.delete(ANN, card.artwork.id)
    Bug(fake_objects, "delete", card.artwork.object_key)
    for _ in range(MAX_FAULTS):
        await make_due(database)
        await community.deletion_worker.delete_due()

    (work,) = (
        await client.admin.ListParkedCommunityWork(communityadminpb.ListParkedCommunityWorkRequest())
    ).parked_works
    release = communityadminpb.ReleaseParkedCommunityWorkRequest(loop=work.loop, work=work.work)
    await client.admin.ReleaseParkedCommunityWork(release)
    with refused(NotFound, "NOT_PARKED"):
        await client.admin.ReleaseParkedCommunityWork(release)

    assert (work.loop, work.work, work.tries) == ("deletions", card.artwork.object_key, MAX_FAULTS)
    assert "RecursionError" in work.cause
    assert work.park_time.seconds > 0
