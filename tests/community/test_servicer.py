"""The service through a real channel: what crosses the wire, and what is refused with which word."""

from urllib.parse import quote

import pytest
from google.protobuf.struct_pb2 import Struct
from kawaii.community.v1 import admin_pb2 as communityadminpb
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import users_pb2 as userspb
from sqlalchemy import select

from services.chassis.database import Database
from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from services.community.composition import CommunityService
from services.community.model import OrderState
from services.community.stores.tables import request_answer
from tests.community.fakes import FakeGenerations
from tests.community.steps import ANN, BOB, finished_draft, published
from tests.community.stubs import START_MS, Client, Refused

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
FILES = "https://site.example/files/"
States = artworkspb.Artwork
NEUTRAL = "flux-kontext-pro · 2023-11-14"  # model and day of START_MS


async def test_an_artwork_from_wish_to_feed(
    client: Client, community: CommunityService, fake_generations: FakeGenerations
) -> None:
    parameters = Struct()
    parameters.update({"promptUpsampling": True, "safetyTolerance": 2})
    wish = artworkspb.CreateArtworkRequest(
        viewer_id=ANN, prompt="a cat", model="flux-kontext-pro", aspect_ratio="16:9", parameters=parameters
    )

    made = (await client.artworks.CreateArtwork(wish)).artwork
    assert (made.state, made.order.state) == (States.STATE_GENERATING, States.Order.STATE_RUNNING)
    assert (made.order.generation_id, made.order.provider_task_id, made.uri) == ("gen_1", "task_gen_1", "")
    assert next(iter(fake_generations.requests.values())).parameters == {"promptUpsampling": True, "safetyTolerance": 2}

    await community.event_consumer.consume(fake_generations.end("gen_1"))
    found = await client.artworks.FindArtwork(artworkspb.FindArtworkRequest(viewer_id=ANN, id="gen_1"))
    assert (found.state, found.order.state, found.name) == (
        States.STATE_DRAFT,
        States.Order.STATE_SUCCEEDED,
        made.name,
    )
    assert found.uri == FILES + "generated/gen_1/0.png"
    assert found.thumbnail_uri == f"https://site.example/api/img?u={quote(found.uri, safe='')}&w=512&q=85&fm=webp"
    assert (found.object, found.order.complete_time.ToMilliseconds()) == ("objects/generated/gen_1/0.png", START_MS)

    shown = await client.artworks.PublishArtwork(artworkspb.PublishArtworkRequest(viewer_id=ANN, name=made.name))
    assert (shown.state, shown.publish_time.ToMilliseconds()) == (States.STATE_PUBLISHED, START_MS)
    feed = await client.artworks.ListFeed(artworkspb.ListFeedRequest(viewer_id=BOB))
    (card,) = feed.artworks
    assert (card.name, card.prompt, card.model, card.aspect_ratio) == (made.name, "a cat", "flux-kontext-pro", "16:9")
    assert (card.owned, card.liked, card.HasField("order"), card.author.user_id) == (False, False, False, ANN)


async def test_a_repeated_save_or_publication_is_done_once_and_another_under_its_key_is_refused(
    client: Client, refused: Refused, database: Database
) -> None:
    def named(key: str, digest: str) -> tuple[tuple[str, str], ...]:
        return ("idempotency-key", key), ("idempotency-digest", digest)

    stub, picture = client.artworks, "https://pictures.example/a.png"
    save = artworkspb.SaveArtworkRequest(viewer_id=ANN, image_uri=picture, title="Secret words", prompt="secret")
    first = await stub.SaveArtwork(save, metadata=named("save", "a"))
    again = stub.SaveArtwork(save, metadata=named("save", "a"))
    assert await again == first
    assert ("idempotent-replayed", "true") in tuple(await again.trailing_metadata())
    save.title = "Other words"
    with refused(AlreadyExists, "IDEMPOTENCY_KEY_REUSED"):
        await stub.SaveArtwork(save, metadata=named("save", "b"))

    publish = artworkspb.PublishArtworkRequest(viewer_id=ANN, name=first.name)
    shown = await stub.PublishArtwork(publish, metadata=named("publish", "a"))
    assert (shown.state, shown.title) == (States.STATE_PUBLISHED, "Secret words")
    await stub.UnpublishArtwork(artworkspb.UnpublishArtworkRequest(viewer_id=ANN, name=first.name))
    assert (await stub.PublishArtwork(publish, metadata=named("publish", "a"))).state == States.STATE_DRAFT
    with refused(AlreadyExists, "IDEMPOTENCY_KEY_REUSED"):
        await stub.PublishArtwork(publish, metadata=named("publish", "b"))
    with refused(NotFound, "NOT_FOUND"):
        await stub.SaveArtwork(
            artworkspb.SaveArtworkRequest(viewer_id=BOB, image_uri=picture, title="c"), metadata=named("save", "a")
        )
    answers = select(request_answer.c.answer)  # erasing somebody must find no words of theirs here
    kept = await database.read(lambda transaction: transaction.scalars(answers).all())
    assert set(kept) == {artworkspb.Artwork(name=first.name).SerializeToString()}


async def test_reactions_answer_how_things_stand(client: Client, community: CommunityService) -> None:
    name = f"artworks/{(await published(community)).artwork.id}"
    stub = client.artworks

    await stub.LikeArtwork(artworkspb.LikeArtworkRequest(viewer_id=BOB, name=name))
    both = await stub.FavoriteArtwork(artworkspb.FavoriteArtworkRequest(viewer_id=BOB, name=name))
    assert both == artworkspb.ArtworkState(name=name, like_count=1, favorite_count=1, liked=True, favorited=True)
    states = await stub.BatchGetArtworkStates(
        artworkspb.BatchGetArtworkStatesRequest(viewer_id=BOB, names=[name, "artworks/art_none"])
    )
    assert list(states.states) == [both, artworkspb.ArtworkState(name="artworks/art_none")]

    hotness = await stub.GetHotness(artworkspb.GetHotnessRequest(name=name))
    assert (hotness.score, hotness.level, hotness.rank, hotness.decay) == (3, PB.HOT_LEVEL_NEW, 1, 1)
    trending = await stub.ListTrending(
        artworkspb.ListTrendingRequest(viewer_id=BOB, window=artworkspb.TRENDING_WINDOW_WEEK)
    )
    assert [(each.name, each.liked, each.favorited) for each in trending.artworks] == [(name, True, True)]
    kept = await client.users.ListFavorites(userspb.ListFavoritesRequest(viewer_id=ANN, user_id=BOB))
    assert [each.name for each in kept.artworks] == [name]

    await stub.UnlikeArtwork(artworkspb.UnlikeArtworkRequest(viewer_id=BOB, name=name))
    none = await stub.UnfavoriteArtwork(artworkspb.UnfavoriteArtworkRequest(viewer_id=BOB, name=name))
    assert none == artworkspb.ArtworkState(name=name)


async def test_a_person_is_hidden_as_they_wish_from_others_only(client: Client, community: CommunityService) -> None:
    given = userspb.EnsureUserRequest(
        viewer_id=ANN, display_name="Ann", email="a@a.example", picture_uri="https://a.b/c"
    )
    await client.users.EnsureUser(given)
    await client.users.UpdatePrivacy(userspb.UpdatePrivacyRequest(viewer_id=ANN, hide_name=True))
    await published(community)

    own = await client.users.GetUser(userspb.GetUserRequest(viewer_id=ANN, user_id=ANN))
    others = await client.users.GetUser(userspb.GetUserRequest(viewer_id=BOB, user_id=ANN))
    (card,) = (await client.artworks.ListFeed(artworkspb.ListFeedRequest())).artworks

    assert (own.display_name, own.email, own.hide_name, own.hide_email) == ("Ann", "a@a.example", True, True)
    assert (others.display_name, others.email, others.picture_uri) == ("", "", "https://a.b/c")
    assert (card.author.display_name, card.author.picture_uri) == ("", "https://a.b/c")


async def test_prompt_and_input_picture_of_a_draft_are_its_owners(client: Client, community: CommunityService) -> None:
    """A published artwork shows its prompt, since its owner published it; the input picture stays theirs."""
    save = artworkspb.SaveArtworkRequest(
        viewer_id=ANN,
        title="A cat",
        image_uri="https://a.example/x.png",
        prompt="the words of Ann",
        original_uri="https://a.example/photo-of-ann.jpg",
    )
    name = (await client.artworks.SaveArtwork(save)).name
    own = await client.artworks.GetArtwork(artworkspb.GetArtworkRequest(viewer_id=ANN, name=name))
    draft = await client.artworks.GetArtwork(artworkspb.GetArtworkRequest(viewer_id=BOB, name=name))
    await community.artworks.publish(ANN, name.removeprefix("artworks/"))
    published_ = await client.artworks.GetArtwork(artworkspb.GetArtworkRequest(viewer_id=BOB, name=name))

    assert (own.prompt, list(own.image_uris)) == ("the words of Ann", ["https://a.example/photo-of-ann.jpg"])
    assert (draft.prompt, list(draft.image_uris), draft.owned) == ("", [], False)
    assert (published_.prompt, list(published_.image_uris)) == ("the words of Ann", [])


async def test_the_title_of_a_draft_tells_others_nothing_of_its_prompt(
    client: Client, community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)
    asks = {
        viewer: artworkspb.GetArtworkRequest(viewer_id=viewer, name=f"artworks/{card.artwork.id}")
        for viewer in (ANN, BOB, "")
    }
    drafts = {viewer: await client.artworks.GetArtwork(ask) for viewer, ask in asks.items()}
    await community.artworks.publish(ANN, card.artwork.id)
    shown = await client.artworks.GetArtwork(asks[BOB])
    await community.artworks.unpublish(ANN, card.artwork.id)
    again = await client.artworks.GetArtwork(asks[BOB])

    assert (drafts[ANN].title, drafts[ANN].slug) == (card.artwork.title, card.artwork.slug)
    for other in (drafts[BOB], drafts[""], again):
        assert (other.title, other.slug) == (NEUTRAL, card.artwork.id)
        assert "cat" not in str(other)
    assert (shown.title, shown.slug, shown.prompt) == (card.artwork.title, card.artwork.slug, card.artwork.prompt)


async def test_a_title_that_its_owner_wrote_is_shown_with_the_draft(
    client: Client, community: CommunityService, fake_generations: FakeGenerations
) -> None:
    wish = artworkspb.CreateArtworkRequest(viewer_id=ANN, prompt="a cat", model="flux-kontext-pro", title="My summer")
    name = (await client.artworks.CreateArtwork(wish)).artwork.name
    await community.event_consumer.consume(fake_generations.end("gen_1"))
    other = await client.artworks.GetArtwork(artworkspb.GetArtworkRequest(viewer_id=BOB, name=name))

    assert other.title == "My summer"


async def test_credits_and_check_in(client: Client) -> None:
    first = await client.credits.CheckIn(creditspb.CheckInRequest(viewer_id=ANN))
    again = await client.credits.CheckIn(creditspb.CheckInRequest(viewer_id=ANN))
    status = await client.credits.GetCheckInStatus(creditspb.GetCheckInStatusRequest(viewer_id=ANN))
    balance = await client.credits.GetBalance(creditspb.GetBalanceRequest(viewer_id=ANN))

    assert (first.checked_in, first.added_credits, first.streak_days, first.last_date) == (True, 12, 1, "2023-11-15")
    assert (again.added_credits, status.total_count, status.checked_in) == (0, 1, True)
    assert (balance.credits, balance.held_credits) == (19, 0)


async def test_takeout_and_erasure(
    client: Client, community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)

    records = [each async for each in client.users.ExportUser(userspb.ExportUserRequest(viewer_id=ANN))]
    receipt = await client.users.EraseUser(userspb.EraseUserRequest(viewer_id=ANN))
    await community.deletion_worker.delete_due()
    after = await client.users.GetErasure(userspb.GetErasureRequest(name=receipt.name))

    kinds = [each.WhichOneof("record") for each in records]
    assert kinds == ["user", "artwork", "file", "credit_entry", "credit_entry", "credit_entry"]
    assert records[2].file.uri == FILES + card.artwork.object_key
    # What is still to go is the file, and the words that were given to generation.
    assert (receipt.artwork_count, receipt.object_count, receipt.remaining_object_count) == (1, 1, 2)
    assert (after.object_count, after.remaining_object_count) == (1, 0)


async def test_operators_see_reports_and_hide(client: Client, community: CommunityService, refused: Refused) -> None:
    name = f"artworks/{(await published(community)).artwork.id}"
    await client.artworks.ReportArtwork(artworkspb.ReportArtworkRequest(viewer_id=BOB, name=name, reason="rude"))

    hidden = await client.admin.HideArtwork(communityadminpb.HideArtworkRequest(name=name))
    (report,) = (await client.admin.ListReports(communityadminpb.ListReportsRequest())).reports
    with refused(NotFound, "NOT_FOUND"):
        await client.artworks.GetArtwork(artworkspb.GetArtworkRequest(viewer_id=BOB, name=name))
    own = await client.artworks.GetArtwork(artworkspb.GetArtworkRequest(viewer_id=ANN, name=name))
    shown = await client.admin.UnhideArtwork(communityadminpb.UnhideArtworkRequest(name=name))
    counted = await client.admin.ReconcileCounters(communityadminpb.ReconcileCountersRequest())

    assert (hidden.hidden, own.hidden, shown.hidden) == (True, True, False)
    assert (report.artwork, report.user_id, report.reason, report.hidden) == (name, BOB, "rude", True)
    assert counted == communityadminpb.ReconcileCountersResponse(artwork_count=1)
    assert (await client.admin.RebuildCache(communityadminpb.RebuildCacheRequest())).key_count == 0


async def test_an_upload_is_known_and_drafted(client: Client) -> None:
    request = artworkspb.UploadArtworkRequest(viewer_id=ANN, object="objects/artworks/original/a.png")
    plain = await client.artworks.UploadArtwork(request)
    request.draft, request.title = True, "Mine"
    drafted = await client.artworks.UploadArtwork(request)

    assert (plain.uri, plain.HasField("artwork")) == (FILES + "artworks/original/a.png", False)
    assert (drafted.artwork.title, drafted.artwork.state, drafted.artwork.uri) == (
        "Mine",
        States.STATE_DRAFT,
        plain.uri,
    )


PB = artworkspb
SAVE = {"title": "x", "image_uri": "https://a.example/x.png"}


@pytest.mark.parametrize(
    ("call", "request_", "error", "reason", "field"),
    [
        ("CreateArtwork", PB.CreateArtworkRequest(prompt="x", model="m"), Unauthenticated, "AUTH_REQUIRED", ""),
        (
            "CreateArtwork",
            PB.CreateArtworkRequest(viewer_id=ANN, model="m"),
            InvalidArgument,
            "INVALID_INPUT",
            "prompt",
        ),
        (
            "CreateArtwork",
            PB.CreateArtworkRequest(viewer_id=ANN, prompt="x"),
            InvalidArgument,
            "INVALID_INPUT",
            "model",
        ),
        (
            "CreateArtwork",
            PB.CreateArtworkRequest(viewer_id=ANN, prompt="x", model="m", image_uris=["data:,"]),
            InvalidArgument,
            "INVALID_INPUT",
            "image_uris",
        ),
        (
            "CreateArtwork",
            PB.CreateArtworkRequest(viewer_id=ANN, prompt="x", model="m", request_id="x" * 201),
            InvalidArgument,
            "INVALID_INPUT",
            "request_id",
        ),
        ("SaveArtwork", PB.SaveArtworkRequest(**SAVE), Unauthenticated, "AUTH_REQUIRED", ""),
        ("GetArtwork", PB.GetArtworkRequest(name="art_1"), InvalidArgument, "INVALID_INPUT", "name"),
        ("GetArtwork", PB.GetArtworkRequest(name="artworks/art_1"), NotFound, "NOT_FOUND", ""),
        ("FindArtwork", PB.FindArtworkRequest(), InvalidArgument, "INVALID_INPUT", "id"),
        (
            "UploadArtwork",
            PB.UploadArtworkRequest(viewer_id=ANN, object="objects/../x"),
            InvalidArgument,
            "INVALID_INPUT",
            "name",
        ),
        ("LikeArtwork", PB.LikeArtworkRequest(name="artworks/art_1"), Unauthenticated, "AUTH_REQUIRED", ""),
        ("ListArtworks", PB.ListArtworksRequest(), InvalidArgument, "INVALID_INPUT", "user_id"),
        ("ListFeed", PB.ListFeedRequest(page_size=-1), InvalidArgument, "INVALID_INPUT", "page_size"),
        ("ListFeed", PB.ListFeedRequest(page_token="x"), InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"),
        ("ListTrending", PB.ListTrendingRequest(window=9), InvalidArgument, "INVALID_INPUT", "window"),
        (
            "BatchGetArtworkStates",
            PB.BatchGetArtworkStatesRequest(names=[f"artworks/a{n}" for n in range(201)]),
            InvalidArgument,
            "INVALID_INPUT",
            "names",
        ),
    ],
)
async def test_bad_input_is_refused_with_a_word_and_a_field(
    client: Client, refused: Refused, call: str, request_: object, error: type, reason: str, field: str
) -> None:
    with refused(error, reason, field):
        await getattr(client.artworks, call)(request_)


async def test_each_state_refuses_what_it_cannot_do(
    client: Client, community: CommunityService, fake_generations: FakeGenerations, refused: Refused
) -> None:
    wish = PB.CreateArtworkRequest(viewer_id=ANN, prompt="x", model="m")
    made = (await client.artworks.CreateArtwork(wish)).artwork
    shown = f"artworks/{(await published(community)).artwork.id}"

    with refused(FailedPrecondition, "NOT_PUBLISHABLE"):
        await client.artworks.PublishArtwork(PB.PublishArtworkRequest(viewer_id=ANN, name=made.name))
    with refused(FailedPrecondition, "NOT_REGENERABLE"):
        await client.artworks.RegenerateArtwork(PB.RegenerateArtworkRequest(viewer_id=ANN, name=made.name))
    with refused(PermissionDenied, "FORBIDDEN"):
        await client.artworks.DeleteArtwork(PB.DeleteArtworkRequest(viewer_id=BOB, name=shown))
    await community.event_consumer.consume(fake_generations.end("gen_1", OrderState.FAILED, "NO"))
    with refused(FailedPrecondition, "NOT_PUBLISHABLE"):
        await client.artworks.PublishArtwork(PB.PublishArtworkRequest(viewer_id=ANN, name=made.name))
    await client.artworks.DeleteArtwork(PB.DeleteArtworkRequest(viewer_id=ANN, name=made.name))
    with refused(NotFound, "NOT_FOUND"):
        await client.artworks.GetArtwork(PB.GetArtworkRequest(viewer_id=ANN, name=made.name))


def test_four_services_are_mounted(community: CommunityService) -> None:
    names = [name for mount in community.mounts() for name in mount.names]

    assert names == [
        "kawaii.community.v1.ArtworkService",
        "kawaii.community.v1.UserService",
        "kawaii.community.v1.CreditService",
        "kawaii.community.v1.CommunityAdminService",
    ]
