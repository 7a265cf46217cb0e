"""How an artwork gets its picture: kept first, asked for until answered, made once, and paid once."""

import asyncio
from dataclasses import replace

import pytest

from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from services.community.house import House
from services.community.model import Balance, Hold, OrderState, Quota, Refused, State
from tests.community.equipment import Clock
from tests.community.neighbours import Cupboard, Studio, lost, taken
from tests.community.people import ANN, BOB, WISH, drawn, everything, order_of, ordered


async def test_an_order_is_kept_with_its_artwork_and_its_price(house: House, studio: Studio) -> None:
    card = await ordered(house)

    assert (card.artwork.state, card.artwork.title, card.author.id) == (State.GENERATING, "a cat in the rain", ANN)
    assert (order_of(card).generation_id, order_of(card).state) == ("gen_1", OrderState.RUNNING)
    assert (order_of(card).hold, await house.credits.balance(ANN)) == (Hold.HELD, Balance(4, 3))
    assert studio.placed == [order_of(card).id]


async def test_a_picture_makes_a_draft_of_it_and_takes_the_price(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)

    assert (card.artwork.state, card.artwork.object_key) == (State.DRAFT, "generated/gen_1/0.png")
    assert (order_of(card).state, order_of(card).hold) == (OrderState.SUCCEEDED, Hold.CAPTURED)
    assert await house.credits.balance(ANN) == Balance(4, 0)


@pytest.mark.parametrize("state", [OrderState.FAILED, OrderState.TIMED_OUT])
async def test_a_failure_says_why_and_costs_nothing(house: House, studio: Studio, state: OrderState) -> None:
    card = await ordered(house)

    await house.follower.hear(studio.end("gen_1", state, "PROVIDER_REJECTED"))

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).state) == (State.FAILED, state)
    assert (order_of(now).reason, order_of(now).message) == ("PROVIDER_REJECTED", "Because of PROVIDER_REJECTED.")
    assert await house.credits.balance(ANN) == Balance(7, 0)


async def test_the_same_request_is_the_same_artwork(house: House, studio: Studio) -> None:
    first, second = await ordered(house, request_id="1"), await ordered(house, request_id="1")
    other, stranger = await ordered(house, request_id="2"), await ordered(house, BOB, request_id="1")

    assert first.artwork.id == second.artwork.id
    assert len({first.artwork.id, other.artwork.id, stranger.artwork.id}) == len(studio.placed) == 3
    assert await house.credits.balance(ANN) == Balance(1, 6)


async def test_a_key_that_was_used_for_another_order_is_refused(house: House, studio: Studio) -> None:
    first = await ordered(house, request_id="1", digest="of a cat")

    with pytest.raises(AlreadyExists) as caught:
        await ordered(house, request_id="1", digest="of a dog")
    again = await ordered(house, request_id="1", digest="of a cat")

    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert (again.artwork.id, again.joined, first.joined) == (first.artwork.id, True, False)
    assert len(studio.placed) == 1


async def test_a_repeated_regeneration_is_ordered_and_paid_once(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)

    first = await house.orders.regenerate(ANN, card.artwork.id, "again", "empty")
    second = await house.orders.regenerate(ANN, card.artwork.id, "again", "empty")
    await house.follower.hear(studio.end("gen_2"))
    third = await house.orders.regenerate(ANN, card.artwork.id, "again", "empty")

    assert [first.joined, second.joined, third.joined] == [False, True, True]
    assert order_of(first).id == order_of(second).id == order_of(third).id
    assert len(studio.placed) == 2
    assert await house.credits.balance(ANN) == Balance(1, 0)


async def test_regenerations_at_one_time_under_one_key_are_one(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)

    made = await asyncio.gather(*(house.orders.regenerate(ANN, card.artwork.id, "again") for _ in range(5)))

    assert sorted(each.joined for each in made) == [False, True, True, True, True]
    assert len(studio.placed) == 2


async def test_a_regeneration_under_another_key_is_another(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)
    await house.credits.check_in(ANN)
    await house.orders.regenerate(ANN, card.artwork.id, "one")
    await house.follower.hear(studio.end("gen_2"))

    again = await house.orders.regenerate(ANN, card.artwork.id, "two")

    assert not again.joined
    assert len(studio.placed) == 3


async def test_a_repeated_request_whose_artwork_was_deleted_orders_nothing(house: House, studio: Studio) -> None:
    card = await ordered(house, request_id="1")
    await house.artworks.delete(ANN, card.artwork.id)

    with pytest.raises(NotFound):
        await ordered(house, request_id="1")

    assert len(studio.placed) == 1


async def test_a_repeated_request_is_found_although_it_could_not_be_made_today(house: House) -> None:
    """Bounds and defaults change between versions; what was taken was taken."""
    first = await ordered(house, request_id="1")

    again = await house.orders.create(ANN, replace(WISH, prompt=""), "1")

    assert again.artwork.id == first.artwork.id


async def test_who_cannot_pay_is_told_and_nothing_is_kept(house: House, studio: Studio) -> None:
    await ordered(house)
    await ordered(house)

    with pytest.raises(FailedPrecondition) as caught:
        await ordered(house, request_id="third")

    assert (caught.value.reason, caught.value.metadata) == ("INSUFFICIENT_CREDITS", {"balance": "1", "cost": "3"})
    assert len(studio.placed) == len(await everything(house)) == 2


async def test_a_resent_order_catches_up_with_an_event_that_came_before_its_answer(
    house: House, studio: Studio
) -> None:
    """The event was of a generation that nobody here knew yet, and does not come again."""
    studio.answer = lost
    card = await ordered(house)
    await house.follower.hear(studio.end("gen_1"))
    studio.answer = taken

    await house.orders.carry_on(order_of(card))

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).state) == (State.DRAFT, OrderState.SUCCEEDED)
    assert len(set(studio.placed)) == 1
    assert await house.credits.balance(ANN) == Balance(4, 0)


async def test_an_order_whose_answer_was_lost_is_sent_again_under_its_id(house: House, studio: Studio) -> None:
    studio.answer = lost
    card = await ordered(house)
    assert (order_of(card).state, order_of(card).generation_id) == (OrderState.PENDING, "")

    studio.answer = taken
    await house.orders.carry_on(order_of(card))

    now = await house.artworks.get(ANN, card.artwork.id)
    assert studio.placed == [order_of(card).id] * 2
    assert (order_of(now).state, order_of(now).generation_id) == (OrderState.RUNNING, "gen_1")
    assert await house.credits.balance(ANN) == Balance(4, 3)


async def test_a_picture_whose_event_came_too_early_is_found_by_looking(house: House, studio: Studio) -> None:
    """The event passes while nobody knows yet whose generation it is."""
    studio.answer = lost
    card = await ordered(house)
    await house.follower.hear(studio.end("gen_1"))
    studio.answer = lambda told: told if told.state is OrderState.SUCCEEDED else taken(told)

    await house.orders.carry_on(order_of(card))

    assert (await house.artworks.get(ANN, card.artwork.id)).artwork.state is State.DRAFT


async def test_an_order_long_not_heard_of_is_asked_about(house: House, studio: Studio) -> None:
    card = await ordered(house)
    studio.end("gen_1")

    await house.orders.carry_on(order_of(card))

    assert (await house.artworks.get(ANN, card.artwork.id)).artwork.state is State.DRAFT


def refusal(error: Exception, **marks: bool) -> Refused:
    return Refused(getattr(error, "reason", ""), str(error), error, **marks)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(InvalidArgument("There is no such model."), faulty=True), InvalidArgument),
        (refusal(ResourceExhausted("Too busy.", "NO_CAPACITY"), passing=True), ResourceExhausted),
    ],
)
async def test_an_order_that_nobody_can_take_leaves_nothing(
    house: House, studio: Studio, answer: Refused, kind: type[Exception]
) -> None:
    studio.answer = lambda _told: answer

    with pytest.raises(kind):
        await ordered(house, request_id="1")

    assert await everything(house) == []
    assert await house.credits.balance(ANN) == Balance(7, 0)
    studio.answer = taken
    assert (await ordered(house, request_id="1")).artwork.state is State.GENERATING


async def test_a_rejected_order_stays_visible_and_can_be_made_anew(house: House, studio: Studio) -> None:
    rejected = FailedPrecondition("The provider does not draw this.", "PROVIDER_REJECTED")
    studio.answer = lambda _told: refusal(rejected)

    with pytest.raises(FailedPrecondition):
        await ordered(house, request_id="1")

    (card,) = await everything(house)
    assert (card.artwork.state, order_of(card).reason) == (State.FAILED, "PROVIDER_REJECTED")
    assert await house.credits.balance(ANN) == Balance(7, 0)
    studio.answer = taken
    assert (await ordered(house, request_id="1")).artwork.id != card.artwork.id
    assert (await house.orders.regenerate(ANN, card.artwork.id)).artwork.state is State.GENERATING


async def test_in_the_background_a_full_house_is_waited_for_but_not_for_ever(
    house: House, studio: Studio, clock: Clock
) -> None:
    studio.answer = lost
    card = await ordered(house)
    studio.answer = lambda _told: refusal(ResourceExhausted("Too busy.", "NO_CAPACITY"), passing=True)

    await house.orders.carry_on(order_of(card))
    assert (await house.artworks.get(ANN, card.artwork.id)).artwork.state is State.GENERATING

    clock.now += 900_000
    await house.orders.carry_on(order_of(card))
    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).reason) == (State.FAILED, "NO_CAPACITY")
    assert await house.credits.balance(ANN) == Balance(7, 0)


async def test_a_late_picture_is_shown_and_paid_once(house: House, studio: Studio) -> None:
    card = await ordered(house)
    await house.follower.hear(studio.end("gen_1", OrderState.TIMED_OUT, "TIMED_OUT"))
    late = studio.end("gen_1")

    for _ in range(3):
        await house.follower.hear(late)
        await house.orders.carry_on(order_of(await house.artworks.get(ANN, card.artwork.id)))

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).hold) == (State.DRAFT, Hold.CAPTURED)
    assert await house.credits.balance(ANN) == Balance(4, 0)


async def test_a_late_picture_is_free_for_who_has_spent_the_price_meanwhile(house: House, studio: Studio) -> None:
    card = await ordered(house)
    await house.follower.hear(studio.end("gen_1", OrderState.TIMED_OUT, "TIMED_OUT"))
    await ordered(house)
    await ordered(house)

    await house.follower.hear(studio.end("gen_1"))

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).hold) == (State.DRAFT, Hold.RELEASED)
    assert await house.credits.balance(ANN) == Balance(1, 6)


async def test_a_failure_after_the_picture_changes_nothing(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)

    await house.follower.hear(studio.end("gen_1", OrderState.FAILED, "LATE"))

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).state) == (State.DRAFT, OrderState.SUCCEEDED)


async def test_a_new_picture_takes_the_place_of_the_old_one(house: House, studio: Studio, cupboard: Cupboard) -> None:
    card = await drawn(house, studio)

    again = await house.orders.regenerate(ANN, card.artwork.id)
    assert (again.artwork.state, again.artwork.object_key) == (State.GENERATING, "generated/gen_1/0.png")
    await house.follower.hear(studio.end("gen_2"))
    await house.sweeper.sweep()

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, now.artwork.object_key) == (State.DRAFT, "generated/gen_2/0.png")
    assert cupboard.deleted == ["generated/gen_1/0.png"]
    assert (await house.artworks.find(ANN, "gen_1")).artwork.id == card.artwork.id
    assert await house.credits.balance(ANN) == Balance(1, 0)


async def test_when_a_new_picture_fails_the_old_one_stays(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)
    await house.orders.regenerate(ANN, card.artwork.id)

    await house.follower.hear(studio.end("gen_2", OrderState.FAILED, "NO"))

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, now.artwork.object_key) == (State.DRAFT, "generated/gen_1/0.png")
    assert await house.credits.balance(ANN) == Balance(4, 0)


@pytest.mark.parametrize("failed", [True, False])
async def test_when_nobody_can_make_it_anew_the_artwork_stays(house: House, studio: Studio, *, failed: bool) -> None:
    card = await ordered(house)
    await house.follower.hear(studio.end("gen_1", OrderState.FAILED if failed else OrderState.SUCCEEDED))
    studio.answer = lambda _told: refusal(ResourceExhausted("Too busy.", "NO_CAPACITY"), passing=True)
    before = await house.artworks.get(ANN, card.artwork.id)

    with pytest.raises(ResourceExhausted):
        await house.orders.regenerate(ANN, card.artwork.id)

    now = await house.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, now.artwork.object_key) == (before.artwork.state, before.artwork.object_key)
    assert (order_of(now).reason, (await house.credits.balance(ANN)).held) == ("NO_CAPACITY", 0)


@pytest.mark.parametrize("state", ["generating", "published"])
async def test_only_a_draft_or_a_failure_is_made_again(house: House, studio: Studio, state: str) -> None:
    card = await (ordered(house) if state == "generating" else drawn(house, studio))
    if state == "published":
        await house.artworks.publish(ANN, card.artwork.id)

    with pytest.raises(FailedPrecondition) as caught:
        await house.orders.regenerate(ANN, card.artwork.id)

    assert (caught.value.reason, len(studio.placed)) == ("NOT_REGENERABLE", 1)


async def test_a_picture_for_a_deleted_artwork_is_paid_and_removed(
    house: House, studio: Studio, cupboard: Cupboard
) -> None:
    card = await ordered(house)
    await house.artworks.delete(ANN, card.artwork.id)

    await house.follower.hear(studio.end("gen_1"))
    await house.sweeper.sweep()

    assert cupboard.deleted == ["generated/gen_1/0.png"]
    assert await house.credits.balance(ANN) == Balance(4, 0)
    with pytest.raises(NotFound):
        await house.artworks.find(ANN, "gen_1")


async def test_an_order_of_an_artwork_that_was_deleted_is_never_sent(house: House, studio: Studio) -> None:
    studio.away = True
    card = await ordered(house)
    await house.artworks.delete(ANN, card.artwork.id)
    studio.away = False

    await house.orders.carry_on(order_of(card))

    assert (studio.placed, await house.credits.balance(ANN)) == ([], Balance(7, 0))


async def test_the_order_carries_all_that_was_wished(house: House, studio: Studio) -> None:
    ours = "https://site.example/files/uploads/1-a.png"
    wish = type(WISH)("a dog", "m", "Dog", "16:9", "png", (ours, "https://a.example/b.png"), {"promptUpsampling": True})

    card = await house.orders.create(ANN, wish, "")

    request = studio.requests[order_of(card).id]
    assert (request.prompt, request.model, request.aspect_ratio, request.output_format) == ("a dog", "m", "16:9", "png")
    assert (request.image_refs, request.parameters) == (
        ("uploads/1-a.png", "https://a.example/b.png"),
        {"promptUpsampling": True},
    )
    assert card.artwork.title == "Dog"


SUBJECTS = ("203.0.113.9", "person 1")


async def test_an_order_counts_for_its_person_and_address_also_when_it_is_placed_again(
    house: House, studio: Studio
) -> None:
    studio.answer = lost
    card = await house.orders.create(ANN, WISH, "", quota_subjects=["203.0.113.9", "", "person 1"])
    assert order_of(card).quota_subjects == SUBJECTS

    studio.answer = taken
    await house.orders.carry_on(order_of(card))

    assert studio.subjects == [SUBJECTS, SUBJECTS]
    now = order_of(await house.artworks.get(ANN, card.artwork.id))
    assert (now.generation_id, now.quota_subjects) == ("gen_1", ())


async def test_an_order_and_a_regeneration_say_what_is_left_of_the_day(house: House, studio: Studio) -> None:
    studio.answer = lambda told: replace(taken(told), quota=Quota(3, 2, 9000))
    card = await house.orders.create(ANN, WISH, "key", quota_subjects=SUBJECTS)
    joined = await house.orders.create(ANN, WISH, "key", quota_subjects=SUBJECTS)
    await house.follower.hear(studio.end("gen_1"))
    again = await house.orders.regenerate(ANN, card.artwork.id, quota_subjects=SUBJECTS)

    assert (card.quota, joined.quota, again.quota) == (Quota(3, 2, 9000), None, Quota(3, 2, 9000))


async def test_a_regeneration_counts_like_an_order(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)
    await house.orders.regenerate(ANN, card.artwork.id, quota_subjects=SUBJECTS)

    assert studio.subjects[-1] == SUBJECTS


@pytest.mark.parametrize("reason", ["RATE_LIMIT", "SITE_QUOTA_EXCEEDED"])
async def test_a_used_up_day_refuses_a_regeneration_and_keeps_no_address(
    house: House, studio: Studio, reason: str
) -> None:
    card = await drawn(house, studio)
    error = ResourceExhausted("No more today.", reason, metadata={"quota_limit": "1"}, retry_after=60.0)
    studio.answer = lambda _told: Refused(reason, error.message, error, passing=True)

    with pytest.raises(ResourceExhausted) as caught:
        await house.orders.regenerate(ANN, card.artwork.id, quota_subjects=SUBJECTS)

    now = order_of(await house.artworks.get(ANN, card.artwork.id))
    assert (caught.value.reason, now.reason, now.quota_subjects) == (reason, reason, ())
    assert await house.credits.balance(ANN) == Balance(4, 0)


@pytest.mark.parametrize("subjects", [list("abcde"), ["x" * 256], ["a\x00b"]])
async def test_subjects_that_no_quota_takes_are_refused(house: House, subjects: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await house.orders.create(ANN, WISH, "", quota_subjects=subjects)

    assert caught.value.metadata == {"field": "quota_subjects"}
