"""Erasing a person: nothing of theirs stays, however much there was; and it gives nothing to whoever goes on."""

import asyncio
import time

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from structlog.testing import capture_logs

from services.chassis.database import Database
from services.chassis.errors import Unauthenticated
from services.community.core.feed import Ask
from services.community.core.saving import Save
from services.community.house import House
from services.community.model import Balance, Claims, Reaction, Report
from services.community.model.hotness import DAY_MS
from services.community.stores.people_rows import UNDATED_TOKENS_MS
from services.community.stores.tables import artwork, artwork_like, artwork_order, discarded_object, person
from tests.community.equipment import Clock
from tests.community.erasure_storm import Storm
from tests.community.neighbours import Cupboard, Studio, lost
from tests.community.people import ANN, BOB, order_of, ordered, published

MANY = 33_000  # above the 32,767 parameters that PostgreSQL takes


async def due(database: Database) -> None:
    """Let every deletion be due now, and every order."""
    async with database.write() as connection:
        await connection.execute(update(discarded_object).values(due_ms=0))
        await connection.execute(update(artwork_order).values(due_ms=0))


async def test_an_order_whose_answer_was_lost_leaves_neither_words_nor_picture(
    house: House, database: Database, studio: Studio, cupboard: Cupboard
) -> None:
    studio.answer = lost
    await ordered(house)
    receipt = await house.people.erase(ANN)
    assert receipt.remaining_count == 1

    await house.sweeper.sweep()
    assert studio.forgotten == []  # it may still be on its way, and is being made
    await due(database)
    for order in await house.orders._store.claim(10, 30.0):
        await house.orders.carry_on(order)
    await house.follower.hear(studio.end("gen_1"))
    await due(database)
    await house.sweeper.sweep()

    assert (studio.forgotten, cupboard.deleted) == (["gen_1"], ["generated/gen_1/0.png"])
    assert (await house.people.erasure(receipt.id)).remaining_count == 0
    assert len(studio.placed) == 1


async def test_an_order_that_generation_never_had_is_forgotten(
    house: House, database: Database, studio: Studio
) -> None:
    studio.away = True
    await ordered(house)
    receipt = await house.people.erase(ANN)
    studio.away = False

    await due(database)
    await house.sweeper.sweep()

    assert (await house.people.erasure(receipt.id)).remaining_count == 0
    assert (studio.placed, studio.forgotten) == ([], [])


async def test_a_deleted_artwork_whose_order_was_taken_all_the_same_loses_its_picture_too(
    house: House, studio: Studio, cupboard: Cupboard
) -> None:
    studio.answer = lost
    card = await ordered(house)
    await house.artworks.delete(ANN, card.artwork.id)

    await house.orders.carry_on(order_of(card))
    await house.follower.hear(studio.end("gen_1"))
    await house.sweeper.sweep()

    assert cupboard.deleted == ["generated/gen_1/0.png"]
    assert len(studio.placed) == 1


async def test_tens_of_thousands_of_likes_go_at_once(house: House, database: Database) -> None:
    await published(house, BOB)
    await house.people.ensure(ANN, Claims())
    async with database.write() as connection:
        row = dict((await connection.execute(select(artwork))).mappings().one())
        copies = [row | {"id": f"art_{n}", "slug": f"s{n}", "request_key": None, "like_count": 1} for n in range(MANY)]
        await connection.execute(insert(artwork), copies)
        likes = [{"user_id": ANN, "artwork_id": f"art_{n}", "create_ms": n} for n in range(MANY)]
        await connection.execute(insert(artwork_like), likes)

    receipt = await house.people.erase(ANN)

    assert receipt.like_count == MANY
    async with database.read() as connection:
        assert await connection.scalar(select(func.sum(artwork.c.like_count))) == 0
        assert await connection.scalar(select(func.count()).select_from(artwork_like)) == 0


async def test_erasing_oneself_mints_no_credits(house: House, clock: Clock) -> None:
    await house.people.ensure(ANN, Claims("Ann"), clock.now - 1000)
    assert (await house.credits.check_in(ANN))[1] == 12
    assert await house.credits.balance(ANN) == Balance(19)

    for _ in range(3):
        await house.people.erase(ANN)
        clock.now += 2000
        await house.people.ensure(ANN, Claims("Ann"), clock.now)
        assert (await house.credits.check_in(ANN))[1] == 0

    assert await house.credits.balance(ANN) == Balance(0)
    clock.now += DAY_MS
    assert (await house.credits.check_in(ANN))[1] == 12
    assert await house.credits.balance(ANN) == Balance(12)
    assert await house.credits.balance(BOB) == Balance(7)


async def test_a_token_from_before_the_erasure_is_refused_everywhere(
    house: House, database: Database, clock: Clock
) -> None:
    shown = (await published(house, BOB)).artwork.id
    await house.people.ensure(ANN, Claims("Ann"), clock.now - 1000)
    await house.people.erase(ANN)

    for call in (
        house.people.ensure(ANN, Claims("Ann"), clock.now - 1000),
        house.people.ensure(ANN, Claims("Ann")),
        house.reactions.react(ANN, shown, Reaction.LIKE, wanted=True),
        house.reactions.report(ANN, shown, "rude"),
        house.credits.balance(ANN),
        house.credits.check_in(ANN),
        house.saving.save(ANN, Save("x", "https://a.example/x.png")),
        house.saving.upload(ANN, "uploads/1-a.png", "", draft=False),
        ordered(house),
    ):
        with pytest.raises(Unauthenticated) as caught:
            await call
        assert caught.value.reason == "ACCOUNT_ERASED"

    assert (await house.feed.newest(Ask(ANN))).cards
    async with database.read() as connection:
        assert (await connection.execute(select(person.c.id))).scalars().all() == [BOB]


async def test_a_new_token_begins_anew_and_an_old_one_stays_refused(house: House, clock: Clock) -> None:
    await house.people.ensure(ANN, Claims("Ann"), clock.now - 1000)
    await house.people.erase(ANN)
    clock.now += 2000

    assert (await house.people.ensure(ANN, Claims("Anna"), clock.now)).display_name == "Anna"
    with pytest.raises(Unauthenticated):
        await house.people.ensure(ANN, Claims("Ann"), clock.now - 3000)
    with pytest.raises(Unauthenticated):
        await house.people.ensure(ANN, Claims("Ann"))
    clock.now += UNDATED_TOKENS_MS + 1
    assert await house.people.ensure(ANN, Claims("Ann"))


async def test_a_report_of_an_artwork_that_goes_at_this_moment_is_refused(house: House) -> None:
    shown = (await published(house, BOB)).artwork.id
    await house.artworks.delete(BOB, shown)

    assert await house.reactions._store.report(Report(shown, ANN, "rude"), 0) is False


async def test_a_storm_with_erasures_fails_nobody(house: House) -> None:
    """The short form of `python -m tests.community.erasure_storm`."""
    storm = Storm(house, seed=11)

    await asyncio.gather(*(storm.client(number, turns=12) for number in range(16)))

    assert storm.failures == {}
    assert (await house.office.reconcile(mend=False)).amount == 0


async def test_two_erasures_of_one_person_who_comes_back_between_them_wait_in_no_ring(
    house: House, database: Database
) -> None:
    """The first found no row to lock; the second one has the new row, and must not hold it while it waits."""
    if database.is_sqlite:
        pytest.skip("SQLite has one writer: nobody waits for anybody")
    await house.people.ensure(ANN, Claims("Ann"), time.time_ns() // 1_000_000 + 1)
    blocked = select(func.count()).select_from(text("pg_locks WHERE NOT granted"))
    with capture_logs() as lines:
        async with database.write() as first:
            await house.people._store._people.bury(first, ANN, 1)  # type: ignore[attr-defined] # the store of these tests
            second = asyncio.create_task(house.people.erase(ANN))
            async with asyncio.timeout(30):
                while True:
                    async with database.read() as connection:
                        if await connection.scalar(blocked):
                            break
            await first.execute(delete(person).where(person.c.id == ANN))
        assert (await second).remaining_count == 0
    assert lines == []  # a collision would be logged, and tried once more
