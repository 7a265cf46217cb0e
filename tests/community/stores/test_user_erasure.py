"""Erasing a user: nothing of theirs stays, however much there was, and a new account gains nothing by it."""

import asyncio
import time

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from structlog.testing import capture_logs

from services.chassis.database import Database, Transaction
from services.chassis.errors import Unauthenticated
from services.chassis.signing_keys import PurposeKeys
from services.community.composition import CommunityService
from services.community.core.feed import PageRequest
from services.community.core.saving import Save
from services.community.model import Balance, Claims, Reaction, Report
from services.community.model.hotness import DAY_MS
from services.community.stores.tables import artwork, artwork_like, artwork_order, check_in, discarded_object, person
from services.community.stores.users import UNDATED_TOKENS_MS, SqlUsers, UserRows
from tests.community.erasure_load import LoadTest
from tests.community.fakes import FakeGenerations, FakeObjects, lost
from tests.community.steps import ANN, BOB, order_of, ordered, published
from tests.community.stubs import Clock
from tests.support.polling import eventually
from tests.support.transactions import open_transaction

MANY = 33_000  # above the 32,767 parameters that PostgreSQL takes


async def due(database: Database) -> None:
    """Let every deletion be due now, and every order."""
    for table in (discarded_object, artwork_order):
        await database.write(lambda transaction, each: transaction.execute(update(each).values(due_ms=0)), table)


async def test_an_order_whose_answer_was_lost_leaves_neither_words_nor_picture(
    community: CommunityService, database: Database, fake_generations: FakeGenerations, fake_objects: FakeObjects
) -> None:
    fake_generations.answer = lost
    await ordered(community)
    receipt = await community.users.erase(ANN)
    assert receipt.remaining_count == 1

    await community.deletion_worker.delete_due()
    assert fake_generations.forgotten == []  # it may still be on its way, and is being made
    await due(database)
    for order in await database.write(community.orders._store.claim, 10, 30.0):
        await community.orders.process(order)
    await community.event_consumer.consume(fake_generations.end("gen_1"))
    await due(database)
    await community.deletion_worker.delete_due()

    assert (fake_generations.forgotten, fake_objects.deleted) == (["gen_1"], ["generated/gen_1/0.png"])
    assert (await community.users.erasure(receipt.id)).remaining_count == 0
    assert len(fake_generations.placed) == 1


async def test_an_order_that_generation_never_had_is_forgotten(
    community: CommunityService, database: Database, fake_generations: FakeGenerations
) -> None:
    fake_generations.away = True
    await ordered(community)
    receipt = await community.users.erase(ANN)
    fake_generations.away = False

    await community.deletion_worker.delete_due()
    assert (await community.users.erasure(receipt.id)).remaining_count == 1  # it may still be on its way
    await due(database)
    await community.deletion_worker.delete_due()

    assert (await community.users.erasure(receipt.id)).remaining_count == 0
    assert (fake_generations.placed, fake_generations.forgotten) == ([], [])


async def test_a_deleted_artwork_whose_order_was_taken_all_the_same_loses_its_picture_too(
    community: CommunityService, fake_generations: FakeGenerations, fake_objects: FakeObjects
) -> None:
    fake_generations.answer = lost
    card = await ordered(community)
    await community.artworks.delete(ANN, card.artwork.id)

    await community.orders.process(order_of(card))
    await community.event_consumer.consume(fake_generations.end("gen_1"))
    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == ["generated/gen_1/0.png"]
    assert len(fake_generations.placed) == 1


async def test_tens_of_thousands_of_likes_go_at_once(community: CommunityService, database: Database) -> None:
    await published(community, BOB)
    await community.users.ensure(ANN, Claims())
    await database.write(like_many)

    receipt = await community.users.erase(ANN)

    assert receipt.like_count == MANY
    counted, liked = select(func.sum(artwork.c.like_count)), select(func.count()).select_from(artwork_like)
    assert await database.read(lambda transaction: transaction.scalar(counted)) == 0
    assert await database.read(lambda transaction: transaction.scalar(liked)) == 0


def like_many(transaction: Transaction) -> None:
    """Copy the artwork, and let Ann like each copy."""
    row = dict(transaction.execute(select(artwork)).mappings().one())
    copies = [row | {"id": f"art_{n}", "slug": f"s{n}", "request_key": None, "like_count": 1} for n in range(MANY)]
    transaction.execute(insert(artwork), copies)
    likes = [{"user_id": ANN, "artwork_id": f"art_{n}", "create_ms": n} for n in range(MANY)]
    transaction.execute(insert(artwork_like), likes)


async def test_erasing_oneself_mints_no_credits(community: CommunityService, clock: Clock) -> None:
    await community.users.ensure(ANN, Claims("Ann"), clock.now - 1000)
    assert (await community.credits.check_in(ANN))[1] == 12
    assert await community.credits.balance(ANN) == Balance(19)

    for _ in range(3):
        await community.users.erase(ANN)
        clock.now += 2000
        await community.users.ensure(ANN, Claims("Ann"), clock.now)
        assert (await community.credits.check_in(ANN))[1] == 0

    assert await community.credits.balance(ANN) == Balance(0)
    clock.now += DAY_MS
    assert (await community.credits.check_in(ANN))[1] == 12
    assert await community.credits.balance(ANN) == Balance(12)
    assert await community.credits.balance(BOB) == Balance(7)


async def test_a_token_from_before_the_erasure_is_refused_everywhere(
    community: CommunityService, database: Database, clock: Clock
) -> None:
    shown = (await published(community, BOB)).artwork.id
    await community.users.ensure(ANN, Claims("Ann"), clock.now - 1000)
    await community.users.erase(ANN)

    for call in (
        community.users.ensure(ANN, Claims("Ann"), clock.now - 1000),
        community.users.ensure(ANN, Claims("Ann")),
        community.reactions.react(ANN, shown, Reaction.LIKE, wanted=True),
        community.reactions.report(ANN, shown, "rude"),
        community.credits.balance(ANN),
        community.credits.check_in(ANN),
        community.saving.save(ANN, Save("x", "https://a.example/x.png")),
        community.saving.upload(ANN, "uploads/1-a.png", "", draft=False),
        ordered(community),
    ):
        with pytest.raises(Unauthenticated) as caught:
            await call
        assert caught.value.reason == "ACCOUNT_ERASED"

    assert (await community.feed.newest(PageRequest(ANN))).cards
    assert await database.read(lambda transaction: transaction.scalars(select(person.c.id)).all()) == [BOB]


async def test_a_new_token_begins_anew_and_an_old_one_stays_refused(community: CommunityService, clock: Clock) -> None:
    await community.users.ensure(ANN, Claims("Ann"), clock.now - 1000)
    await community.users.erase(ANN)
    clock.now += 2000

    assert (await community.users.ensure(ANN, Claims("Anna"), clock.now)).display_name == "Anna"
    with pytest.raises(Unauthenticated):
        await community.users.ensure(ANN, Claims("Ann"), clock.now - 3000)
    with pytest.raises(Unauthenticated):
        await community.users.ensure(ANN, Claims("Ann"))
    clock.now += UNDATED_TOKENS_MS + 1
    assert await community.users.ensure(ANN, Claims("Ann"))


async def test_an_erased_person_is_recognised_after_the_signing_key_was_rotated(
    community: CommunityService, database: Database, clock: Clock
) -> None:
    await community.users.ensure(ANN, Claims("Ann"), clock.now - 1000)
    await community.credits.check_in(ANN)
    await community.users.erase(ANN)
    rotated = UserRows(PurposeKeys(b"new key", (b"erasure key",)))
    before = await database.read(rotated.tombstone, ANN)
    clock.now += DAY_MS
    await database.write(rotated.lock, ANN, clock.now, clock.now)
    await database.write(SqlUsers(rotated, clock).erase, ANN, "erasure_2")

    after = await database.read(rotated.tombstone, ANN)
    assert before
    assert after
    assert (after.erase_ms, after.check_in_day) == (clock.now, before.check_in_day)
    assert await database.read(UserRows(PurposeKeys(b"new key")).tombstone, ANN) == after


async def test_a_report_of_an_artwork_that_goes_at_this_moment_is_refused(
    community: CommunityService, database: Database
) -> None:
    shown = (await published(community, BOB)).artwork.id
    await community.artworks.delete(BOB, shown)

    assert await database.write(community.reactions._store.report, Report(shown, ANN, "rude"), 0) is False


async def test_a_load_test_with_erasures_fails_no_call(community: CommunityService) -> None:
    """The short form of `python -m tests.community.erasure_load`."""
    load_test = LoadTest(community, seed=11)

    await asyncio.gather(*(load_test.client(number, turns=12) for number in range(16)))

    assert load_test.failures == {}
    assert (await community.admin_operations.reconcile(mend=False)).amount == 0


async def blocked(database: Database) -> bool:
    """Whether a transaction waits for another's lock."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(await database.read(lambda transaction: transaction.scalar(waiting)))


async def test_two_erasures_of_one_person_who_comes_back_between_them_wait_in_no_ring(
    community: CommunityService, database: Database
) -> None:
    """The first found no row to lock; the second one has the new row, and must not hold it while it waits."""
    if database.is_sqlite:
        pytest.skip("SQLite has one writer: nobody waits for anybody")
    await community.users.ensure(ANN, Claims("Ann"), time.time_ns() // 1_000_000 + 1)

    def bury(transaction: Transaction) -> None:
        community.users._store._users._write_tombstone(transaction, ANN, 1)  # type: ignore[attr-defined] # the store of these tests

    def remove(transaction: Transaction) -> None:
        transaction.execute(delete(person).where(person.c.id == ANN))

    with capture_logs() as lines:
        async with open_transaction(database, bury, remove):
            second = asyncio.create_task(community.users.erase(ANN))
            await eventually(lambda: blocked(database))
        assert (await second).remaining_count == 0
    assert lines == []  # a collision would be logged, and tried once more


async def test_a_check_in_for_which_an_erasure_waits_earns_nothing_a_second_time(
    community: CommunityService, database: Database, clock: Clock
) -> None:
    """Nobody could see its row when the erasure began."""
    if database.is_sqlite:
        pytest.skip("SQLite has one writer: nobody waits for anybody")
    await community.users.ensure(ANN, Claims("Ann"), clock.now - 1000)
    row = {"user_id": ANN, "day": community.credits.today(), "streak": 1, "total": 1}

    def check_in_first(transaction: Transaction) -> None:
        transaction.execute(select(person.c.id).with_for_update(read=True, key_share=True))
        transaction.execute(insert(check_in).values(row))

    async with open_transaction(database, check_in_first):
        erasing = asyncio.create_task(community.users.erase(ANN))
        await eventually(lambda: blocked(database))
    await erasing
    clock.now += 2000
    await community.users.ensure(ANN, Claims("Ann"), clock.now)

    assert (await community.credits.check_in(ANN))[1] == 0


async def test_a_person_whose_profile_changes_at_this_moment_is_kept_from_nothing(
    community: CommunityService, database: Database, clock: Clock
) -> None:
    """Whatever is written for a person holds their row against an erasure only, not against other writers."""
    if database.is_sqlite:
        pytest.skip("SQLite has one writer: everybody waits for everybody")
    shown = (await published(community, BOB)).artwork.id
    await community.users.ensure(ANN, Claims("Ann"), clock.now - 1000)
    change = update(person).where(person.c.id == ANN).values(display_name="Anna")
    async with open_transaction(database, lambda transaction: transaction.execute(change)):
        liked = await community.reactions.react(ANN, shown, Reaction.LIKE, wanted=True)

    assert liked.like_count == 1
