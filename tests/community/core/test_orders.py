"""How an artwork gets its picture: kept first, asked for until answered, made once, and paid once."""

import asyncio
from dataclasses import replace

import pytest

from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from services.community.composition import CommunityService
from services.community.core.orders import pause
from services.community.core.saving import Save
from services.community.model import Balance, Hold, OrderState, Quota, Refused, State
from tests.community.fakes import FakeGenerations, FakeObjects, lost, taken
from tests.community.steps import ANN, BOB, WISH, all_artworks, finished_draft, order_of, ordered
from tests.community.stubs import Clock


async def test_an_order_is_kept_with_its_artwork_and_its_price(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community)

    assert (card.artwork.state, card.artwork.title, card.author.id) == (State.GENERATING, "a cat in the rain", ANN)
    assert (order_of(card).generation_id, order_of(card).state) == ("gen_1", OrderState.RUNNING)
    assert (order_of(card).hold, await community.credits.balance(ANN)) == (Hold.HELD, Balance(4, 3))
    assert fake_generations.placed == [order_of(card).id]


async def test_a_picture_makes_a_draft_of_it_and_takes_the_price(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)

    assert (card.artwork.state, card.artwork.object_key) == (State.DRAFT, "generated/gen_1/0.png")
    assert (order_of(card).state, order_of(card).hold) == (OrderState.SUCCEEDED, Hold.CAPTURED)
    assert await community.credits.balance(ANN) == Balance(4, 0)


@pytest.mark.parametrize("state", [OrderState.FAILED, OrderState.TIMED_OUT])
async def test_a_failure_says_why_and_costs_nothing(
    community: CommunityService, fake_generations: FakeGenerations, state: OrderState
) -> None:
    card = await ordered(community)

    await community.event_consumer.consume(fake_generations.end("gen_1", state, "PROVIDER_REJECTED"))

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).state) == (State.FAILED, state)
    assert (order_of(now).reason, order_of(now).message) == ("PROVIDER_REJECTED", "Because of PROVIDER_REJECTED.")
    assert await community.credits.balance(ANN) == Balance(7, 0)


async def test_the_same_request_is_the_same_artwork(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    first, second = await ordered(community, request_id="1"), await ordered(community, request_id="1")
    other, stranger = await ordered(community, request_id="2"), await ordered(community, BOB, request_id="1")

    assert first.artwork.id == second.artwork.id
    assert len({first.artwork.id, other.artwork.id, stranger.artwork.id}) == len(fake_generations.placed) == 3
    assert await community.credits.balance(ANN) == Balance(1, 6)


async def test_a_key_that_was_used_for_another_order_is_refused(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    first = await community.orders.create(ANN, WISH, "1", "of a cat")

    with pytest.raises(AlreadyExists) as caught:
        await ordered(community, request_id="1", digest="of a dog")
    again = await community.orders.create(ANN, WISH, "1", "of a cat")

    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert (again.card.artwork.id, again.joined, first.joined) == (first.card.artwork.id, True, False)
    assert len(fake_generations.placed) == 1


async def test_a_repeated_regeneration_is_ordered_and_paid_once(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)

    first = await community.orders.regenerate(ANN, card.artwork.id, "again", "empty")
    second = await community.orders.regenerate(ANN, card.artwork.id, "again", "empty")
    await community.event_consumer.consume(fake_generations.end("gen_2"))
    third = await community.orders.regenerate(ANN, card.artwork.id, "again", "empty")

    assert [first.joined, second.joined, third.joined] == [False, True, True]
    assert order_of(first.card).id == order_of(second.card).id == order_of(third.card).id
    assert len(fake_generations.placed) == 2
    assert await community.credits.balance(ANN) == Balance(1, 0)


async def test_regenerations_at_one_time_under_one_key_are_one(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)

    made = await asyncio.gather(*(community.orders.regenerate(ANN, card.artwork.id, "again") for _ in range(5)))

    assert sorted(each.joined for each in made) == [False, True, True, True, True]
    assert len(fake_generations.placed) == 2


async def test_a_regeneration_under_another_key_is_another(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)
    await community.credits.check_in(ANN)
    await community.orders.regenerate(ANN, card.artwork.id, "one")
    await community.event_consumer.consume(fake_generations.end("gen_2"))

    again = await community.orders.regenerate(ANN, card.artwork.id, "two")

    assert not again.joined
    assert len(fake_generations.placed) == 3


async def test_a_repeated_request_whose_artwork_was_deleted_orders_nothing(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community, request_id="1")
    await community.artworks.delete(ANN, card.artwork.id)

    with pytest.raises(NotFound):
        await ordered(community, request_id="1")

    assert len(fake_generations.placed) == 1


async def test_a_repeated_request_is_found_although_it_could_not_be_made_today(community: CommunityService) -> None:
    """Bounds and defaults change between versions; what was taken was taken."""
    first = await ordered(community, request_id="1")

    again = await community.orders.create(ANN, replace(WISH, prompt=""), "1")

    assert again.card.artwork.id == first.artwork.id


async def test_too_few_credits_are_an_error_and_nothing_is_stored(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    await ordered(community)
    await ordered(community)

    with pytest.raises(FailedPrecondition) as caught:
        await ordered(community, request_id="third")

    assert (caught.value.reason, caught.value.metadata) == ("INSUFFICIENT_CREDITS", {"balance": "1", "cost": "3"})
    assert len(fake_generations.placed) == len(await all_artworks(community)) == 2


async def test_a_resent_order_catches_up_with_an_event_that_came_before_its_answer(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    """The event was of a generation that nobody here knew yet, and does not come again."""
    fake_generations.answer = lost
    card = await ordered(community)
    await community.event_consumer.consume(fake_generations.end("gen_1"))
    fake_generations.answer = taken

    await community.orders.process(order_of(card))

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).state) == (State.DRAFT, OrderState.SUCCEEDED)
    assert len(set(fake_generations.placed)) == 1
    assert await community.credits.balance(ANN) == Balance(4, 0)


async def test_an_order_whose_answer_was_lost_is_sent_again_under_its_id(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    fake_generations.answer = lost
    card = await ordered(community)
    assert (order_of(card).state, order_of(card).generation_id) == (OrderState.PENDING, "")

    fake_generations.answer = taken
    await community.orders.process(order_of(card))

    now = await community.artworks.get(ANN, card.artwork.id)
    assert fake_generations.placed == [order_of(card).id] * 2
    assert (order_of(now).state, order_of(now).generation_id) == (OrderState.RUNNING, "gen_1")
    assert await community.credits.balance(ANN) == Balance(4, 3)


async def test_a_picture_whose_event_came_too_early_is_found_by_looking(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    """The event passes while nobody knows yet whose generation it is."""
    fake_generations.answer = lost
    card = await ordered(community)
    await community.event_consumer.consume(fake_generations.end("gen_1"))
    fake_generations.answer = lambda status: status if status.state is OrderState.SUCCEEDED else taken(status)

    await community.orders.process(order_of(card))

    assert (await community.artworks.get(ANN, card.artwork.id)).artwork.state is State.DRAFT


async def test_an_order_without_news_for_long_is_asked_for(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community)
    fake_generations.end("gen_1")

    await community.orders.process(order_of(card))

    assert (await community.artworks.get(ANN, card.artwork.id)).artwork.state is State.DRAFT


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
    community: CommunityService, fake_generations: FakeGenerations, answer: Refused, kind: type[Exception]
) -> None:
    fake_generations.answer = lambda _status: answer

    with pytest.raises(kind):
        await ordered(community, request_id="1")

    assert await all_artworks(community) == []
    assert await community.credits.balance(ANN) == Balance(7, 0)
    fake_generations.answer = taken
    assert (await ordered(community, request_id="1")).artwork.state is State.GENERATING


async def test_a_rejected_order_stays_visible_and_can_be_made_anew(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    rejected = FailedPrecondition("The provider does not draw this.", "PROVIDER_REJECTED")
    fake_generations.answer = lambda _status: refusal(rejected)

    with pytest.raises(FailedPrecondition):
        await ordered(community, request_id="1")

    (card,) = await all_artworks(community)
    assert (card.artwork.state, order_of(card).reason) == (State.FAILED, "PROVIDER_REJECTED")
    assert await community.credits.balance(ANN) == Balance(7, 0)
    fake_generations.answer = taken
    assert (await ordered(community, request_id="1")).artwork.id != card.artwork.id
    assert (await community.orders.regenerate(ANN, card.artwork.id)).card.artwork.state is State.GENERATING


async def test_in_the_background_an_order_waits_for_capacity_but_not_for_ever(
    community: CommunityService, fake_generations: FakeGenerations, clock: Clock
) -> None:
    fake_generations.answer = lost
    card = await ordered(community)
    fake_generations.answer = lambda _status: refusal(ResourceExhausted("Too busy.", "NO_CAPACITY"), passing=True)

    await community.orders.process(order_of(card))
    assert (await community.artworks.get(ANN, card.artwork.id)).artwork.state is State.GENERATING

    clock.now += 900_000
    await community.orders.process(order_of(card))
    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).reason) == (State.FAILED, "NO_CAPACITY")
    assert await community.credits.balance(ANN) == Balance(7, 0)


def test_pauses_between_two_attempts_double_up_to_five_minutes() -> None:
    assert [pause(tries) for tries in (0, 1, 2, 5, 6, 7, 1000)] == [5, 10, 20, 160, 300, 300, 300]


async def test_a_late_picture_is_shown_and_paid_once(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community)
    await community.event_consumer.consume(fake_generations.end("gen_1", OrderState.TIMED_OUT, "TIMED_OUT"))
    late = fake_generations.end("gen_1")

    for _ in range(3):
        await community.event_consumer.consume(late)
        await community.orders.process(order_of(await community.artworks.get(ANN, card.artwork.id)))

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).hold) == (State.DRAFT, Hold.CAPTURED)
    assert await community.credits.balance(ANN) == Balance(4, 0)


async def test_a_late_picture_is_free_for_who_has_spent_the_price_meanwhile(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community)
    await community.event_consumer.consume(fake_generations.end("gen_1", OrderState.TIMED_OUT, "TIMED_OUT"))
    await ordered(community)
    await ordered(community)

    await community.event_consumer.consume(fake_generations.end("gen_1"))

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).hold) == (State.DRAFT, Hold.RELEASED)
    assert await community.credits.balance(ANN) == Balance(1, 6)


async def test_a_failure_after_the_picture_changes_nothing(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)

    await community.event_consumer.consume(fake_generations.end("gen_1", OrderState.FAILED, "LATE"))

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, order_of(now).state) == (State.DRAFT, OrderState.SUCCEEDED)


async def test_a_new_picture_takes_the_place_of_the_old_one(
    community: CommunityService, fake_generations: FakeGenerations, fake_objects: FakeObjects
) -> None:
    card = await finished_draft(community, fake_generations)

    again = (await community.orders.regenerate(ANN, card.artwork.id)).card
    assert (again.artwork.state, again.artwork.object_key) == (State.GENERATING, "generated/gen_1/0.png")
    await community.event_consumer.consume(fake_generations.end("gen_2"))
    await community.deletion_worker.delete_due()

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, now.artwork.object_key) == (State.DRAFT, "generated/gen_2/0.png")
    assert fake_objects.deleted == ["generated/gen_1/0.png"]
    assert (await community.artworks.find(ANN, "gen_1")).artwork.id == card.artwork.id
    assert await community.credits.balance(ANN) == Balance(1, 0)


async def test_when_a_new_picture_fails_the_old_one_stays(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)
    await community.orders.regenerate(ANN, card.artwork.id)

    await community.event_consumer.consume(fake_generations.end("gen_2", OrderState.FAILED, "NO"))

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, now.artwork.object_key) == (State.DRAFT, "generated/gen_1/0.png")
    assert await community.credits.balance(ANN) == Balance(4, 0)


@pytest.mark.parametrize("failed", [True, False])
async def test_when_nobody_can_make_it_anew_the_artwork_stays(
    community: CommunityService, fake_generations: FakeGenerations, *, failed: bool
) -> None:
    card = await ordered(community)
    await community.event_consumer.consume(
        fake_generations.end("gen_1", OrderState.FAILED if failed else OrderState.SUCCEEDED)
    )
    fake_generations.answer = lambda _status: refusal(ResourceExhausted("Too busy.", "NO_CAPACITY"), passing=True)
    before = await community.artworks.get(ANN, card.artwork.id)

    with pytest.raises(ResourceExhausted):
        await community.orders.regenerate(ANN, card.artwork.id)

    now = await community.artworks.get(ANN, card.artwork.id)
    assert (now.artwork.state, now.artwork.object_key) == (before.artwork.state, before.artwork.object_key)
    assert (order_of(now).reason, (await community.credits.balance(ANN)).held) == ("NO_CAPACITY", 0)


@pytest.mark.parametrize("state", ["generating", "published"])
async def test_only_a_draft_or_a_failure_is_made_again(
    community: CommunityService, fake_generations: FakeGenerations, state: str
) -> None:
    card = await (ordered(community) if state == "generating" else finished_draft(community, fake_generations))
    if state == "published":
        await community.artworks.publish(ANN, card.artwork.id)

    with pytest.raises(FailedPrecondition) as caught:
        await community.orders.regenerate(ANN, card.artwork.id)

    assert (caught.value.reason, len(fake_generations.placed)) == ("NOT_REGENERABLE", 1)


async def test_what_was_saved_without_the_model_that_made_it_is_not_made_again(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    for number, given in enumerate(({"prompt": "a cat"}, {"model": "flux-kontext-pro"})):
        card = await community.saving.save(ANN, Save("A cat", f"https://elsewhere.example/{number}.png", **given))
        with pytest.raises(FailedPrecondition) as caught:
            await community.orders.regenerate(ANN, card.artwork.id)
        assert caught.value.reason == "NOT_REGENERABLE"

    assert fake_generations.placed == []


async def test_a_picture_for_a_deleted_artwork_is_paid_and_removed(
    community: CommunityService, fake_generations: FakeGenerations, fake_objects: FakeObjects
) -> None:
    card = await ordered(community)
    await community.artworks.delete(ANN, card.artwork.id)

    await community.event_consumer.consume(fake_generations.end("gen_1"))
    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == ["generated/gen_1/0.png"]
    assert await community.credits.balance(ANN) == Balance(4, 0)
    with pytest.raises(NotFound):
        await community.artworks.find(ANN, "gen_1")


async def test_an_order_of_an_artwork_that_was_deleted_is_never_sent(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    fake_generations.away = True
    card = await ordered(community)
    await community.artworks.delete(ANN, card.artwork.id)
    fake_generations.away = False

    await community.orders.process(order_of(card))

    assert (fake_generations.placed, await community.credits.balance(ANN)) == ([], Balance(7, 0))


async def test_the_order_carries_all_that_was_wished(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    ours = "https://site.example/files/uploads/1-a.png"
    wish = type(WISH)("a dog", "m", "Dog", "16:9", "png", (ours, "https://a.example/b.png"), {"promptUpsampling": True})

    card = (await community.orders.create(ANN, wish, "")).card

    request = fake_generations.requests[order_of(card).id]
    assert (request.prompt, request.model, request.aspect_ratio, request.output_format) == ("a dog", "m", "16:9", "png")
    assert (request.image_refs, request.parameters) == (
        ("uploads/1-a.png", "https://a.example/b.png"),
        {"promptUpsampling": True},
    )
    assert card.artwork.title == "Dog"


SUBJECTS = ("203.0.113.9", "person 1")


async def test_an_order_counts_for_its_person_and_address_also_when_it_is_placed_again(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    fake_generations.answer = lost
    card = (await community.orders.create(ANN, WISH, "", quota_subjects=["203.0.113.9", "", "person 1"])).card
    assert order_of(card).quota_subjects == SUBJECTS

    fake_generations.answer = taken
    await community.orders.process(order_of(card))

    assert fake_generations.subjects == [SUBJECTS, SUBJECTS]
    now = order_of(await community.artworks.get(ANN, card.artwork.id))
    assert (now.generation_id, now.quota_subjects) == ("gen_1", ())


async def test_an_order_and_a_regeneration_say_what_is_left_of_the_day(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    fake_generations.answer = lambda status: replace(taken(status), quota=Quota(3, 2, 9000))
    first = await community.orders.create(ANN, WISH, "key", quota_subjects=SUBJECTS)
    joined = await community.orders.create(ANN, WISH, "key", quota_subjects=SUBJECTS)
    await community.event_consumer.consume(fake_generations.end("gen_1"))
    again = await community.orders.regenerate(ANN, first.card.artwork.id, quota_subjects=SUBJECTS)

    assert (first.quota, joined.quota, again.quota) == (Quota(3, 2, 9000), None, Quota(3, 2, 9000))


async def test_a_regeneration_counts_like_an_order(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)
    await community.orders.regenerate(ANN, card.artwork.id, quota_subjects=SUBJECTS)

    assert fake_generations.subjects[-1] == SUBJECTS


@pytest.mark.parametrize("reason", ["RATE_LIMIT", "SITE_QUOTA_EXCEEDED"])
async def test_a_used_up_day_refuses_a_regeneration_and_keeps_no_address(
    community: CommunityService, fake_generations: FakeGenerations, reason: str
) -> None:
    card = await finished_draft(community, fake_generations)
    error = ResourceExhausted("No more today.", reason, metadata={"quota_limit": "1"}, retry_after=60.0)
    fake_generations.answer = lambda _status: Refused(reason, error.message, error, passing=True)

    with pytest.raises(ResourceExhausted) as caught:
        await community.orders.regenerate(ANN, card.artwork.id, quota_subjects=SUBJECTS)

    now = order_of(await community.artworks.get(ANN, card.artwork.id))
    assert (caught.value.reason, now.reason, now.quota_subjects) == (reason, reason, ())
    assert await community.credits.balance(ANN) == Balance(4, 0)


@pytest.mark.parametrize("subjects", [list("abcde"), ["x" * 256], ["a\x00b"]])
async def test_subjects_that_no_quota_takes_are_refused(community: CommunityService, subjects: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await community.orders.create(ANN, WISH, "", quota_subjects=subjects)

    assert caught.value.metadata == {"field": "quota_subjects"}
