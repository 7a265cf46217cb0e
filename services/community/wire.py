"""Translates between the model and kawaii.community.v1; the only place where an object key becomes a URL."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import quote_plus, urlencode

from kawaii.community.v1 import admin_pb2 as communityadminpb
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import users_pb2 as userspb

from services.chassis.clock import date_of
from services.chassis.errors import invalid_field
from services.chassis.names import name, parse_id
from services.chassis.parking import WorkFault
from services.chassis.protobuf import duration, timestamp
from services.chassis.public_files import PublicFiles
from services.community.core.artworks import for_others
from services.community.core.users import ExportRecord
from services.community.model import (
    Artwork,
    ArtworkPage,
    Card,
    CheckIn,
    Entry,
    Erasure,
    HiddenMark,
    ListEntry,
    Order,
    OrderAnswer,
    Quota,
    Reacted,
    Report,
    Shelf,
    User,
)
from services.community.model.hotness import DAY_MS, HOUR_MS, Category, level

T = TypeVar("T")
STORED_THUMB = re.compile(r"^artworks/original/([^/]+)\.[a-z0-9]+$")  # the keys that storage pairs with a thumbnail
COLLECTION, OBJECTS = "artworks", "objects"
THUMBNAIL = urlencode({"w": 512, "q": 85, "fm": "webp"})  # docs/storage.md#keys, among storage's presets
WINDOWS: Mapping[int, int] = {
    artworkspb.TRENDING_WINDOW_UNSPECIFIED: 0,
    artworkspb.TRENDING_WINDOW_HOUR: HOUR_MS,
    artworkspb.TRENDING_WINDOW_SIX_HOURS: 6 * HOUR_MS,
    artworkspb.TRENDING_WINDOW_DAY: DAY_MS,
    artworkspb.TRENDING_WINDOW_WEEK: 7 * DAY_MS,
    artworkspb.TRENDING_WINDOW_MONTH: 30 * DAY_MS,
}
CATEGORIES: Mapping[int, Category] = {
    artworkspb.TRENDING_CATEGORY_UNSPECIFIED: Category.ALL,
    artworkspb.TRENDING_CATEGORY_VIRAL: Category.VIRAL,
    artworkspb.TRENDING_CATEGORY_HOT: Category.HOT,
    artworkspb.TRENDING_CATEGORY_RISING: Category.RISING,
}
ERASURES = "erasures"


def artwork_id(resource_name: str) -> str:
    """The id in artworks/{artwork_id}. Raises InvalidArgument."""
    return parse_id(COLLECTION, resource_name)


def artwork_ids(resource_names: Iterable[str]) -> list[str]:
    """The ids in several names."""
    return [artwork_id(each) for each in resource_names]


def window(value: int) -> int:
    """The length of a window in milliseconds; 0 for no limit. Raises InvalidArgument."""
    return _known(WINDOWS, value, "window")


def category(value: int) -> Category:
    """The category of a request. Raises InvalidArgument."""
    return _known(CATEGORIES, value, "category")


def _known(table: Mapping[int, T], value: int, field: str) -> T:
    if value in table:
        return table[value]
    raise invalid_field(field, f"There is no such {field}.")


class Wire:
    """Renders artworks with the URLs of public files and of thumbnails.

    If `has_files_host`, files have a host of their own, also for thumbnails: a front end may allow no other.
    """

    def __init__(self, files: PublicFiles, origin: str, *, has_files_host: bool = False) -> None:
        self._files, self._has_files_host = files, has_files_host
        self._thumbnails = f"{origin}/api/img"

    def uri(self, ref: str) -> str:
        """The URL of a ref: keys hold no colon, URLs do."""
        return ref if ":" in ref else self._files.uri(ref)

    def thumbnail(self, key: str) -> str:
        """The URL of a thumbnail, which storage makes at the first request.

        A host of files alone makes nothing on request: there it is the stored thumbnail of an upload, and the picture
        itself where there is none.
        """
        if self._has_files_host:
            return self._files.uri(STORED_THUMB.sub(r"artworks/thumb/\1.webp", key))
        return f"{self._thumbnails}?u={quote_plus(self._files.uri(key))}&{THUMBNAIL}" if key else ""

    def artwork(self, card: Card, viewer_id: str) -> artworkspb.Artwork:
        """An artwork as the viewer sees it.

        Input pictures, orders and the operators' mark are the owner's alone; the prompt and what was made of its
        words too, until it is published.
        """
        mine = bool(viewer_id) and card.artwork.user_id == viewer_id
        shown = card.artwork if mine else for_others(card.artwork)
        rendered = self._rendered(shown)
        rendered.prompt = shown.prompt if mine or shown.listed else ""
        rendered.image_uris.extend(map(self.uri, shown.image_refs) if mine else ())
        rendered.author.CopyFrom(author(card.author, viewer_id))
        rendered.liked, rendered.favorited, rendered.owned = card.liked, card.favorited, mine
        rendered.hidden = mine and shown.hidden is HiddenMark.HIDDEN
        if mine and card.order:
            rendered.order.CopyFrom(order(card.order))
        return rendered

    def created(self, answer: OrderAnswer, viewer_id: str) -> artworkspb.CreateArtworkResponse:
        """The answer to an order."""
        artwork, counted = self.artwork(answer.card, viewer_id), quota(answer.quota)
        return artworkspb.CreateArtworkResponse(artwork=artwork, joined=answer.joined, quota=counted)

    def regenerated(self, answer: OrderAnswer, viewer_id: str) -> artworkspb.RegenerateArtworkResponse:
        """The answer to an order of a new picture."""
        artwork, counted = self.artwork(answer.card, viewer_id), quota(answer.quota)
        return artworkspb.RegenerateArtworkResponse(artwork=artwork, joined=answer.joined, quota=counted)

    def artworks(self, page: ArtworkPage, viewer_id: str) -> list[artworkspb.Artwork]:
        """The cards of a page."""
        return [self.artwork(card, viewer_id) for card in page.cards]

    def _rendered(self, shown: Artwork) -> artworkspb.Artwork:
        return artworkspb.Artwork(
            name=name(COLLECTION, shown.id),
            state=artworkspb.Artwork.State.Value(f"STATE_{shown.state}"),
            title=shown.title,
            slug=shown.slug,
            uri=self.uri(shown.object_key),
            thumbnail_uri=self.thumbnail(shown.object_key),
            object=name(OBJECTS, shown.object_key),
            model=shown.model,
            aspect_ratio=shown.aspect_ratio,
            output_format=shown.output_format,
            like_count=shown.like_count,
            favorite_count=shown.favorite_count,
            hot_score=shown.hot_score,
            hot_level=hot_level(shown.hot_score),
            create_time=timestamp(shown.create_ms),
            update_time=timestamp(shown.update_ms),
            publish_time=timestamp(shown.publish_ms),
        )


def author(person: User, viewer_id: str) -> artworkspb.Artwork.Author:
    """The author of an artwork as the viewer may see them."""
    shown = "" if person.hide_name and person.id != viewer_id else person.display_name
    return artworkspb.Artwork.Author(user_id=person.id, display_name=shown, picture_uri=person.picture_uri)


def order(given: Order) -> artworkspb.Artwork.Order:
    """An order."""
    return artworkspb.Artwork.Order(
        generation_id=given.generation_id,
        provider_task_id=given.task_id,
        state=artworkspb.Artwork.Order.State.Value(f"STATE_{given.state}"),
        reason=given.reason,
        message=given.message,
        start_time=timestamp(given.create_ms),
        complete_time=timestamp(given.complete_ms),
    )


def state(given: Reacted) -> artworkspb.ArtworkState:
    """The counts of an artwork and the viewer's reactions."""
    return artworkspb.ArtworkState(
        name=name(COLLECTION, given.artwork_id),
        like_count=given.like_count,
        favorite_count=given.favorite_count,
        liked=given.liked,
        favorited=given.favorited,
    )


def hotness(shown: Artwork, rank: int) -> artworkspb.ArtworkHotness:
    """The hotness of an artwork."""
    return artworkspb.ArtworkHotness(
        name=name(COLLECTION, shown.id),
        score=shown.hot_score,
        level=hot_level(shown.hot_score),
        rank=rank,
        like_count=shown.like_count,
        favorite_count=shown.favorite_count,
    )


def hot_level(score: float) -> artworkspb.HotLevel.ValueType:
    """The level of a score."""
    return artworkspb.HotLevel.Value(f"HOT_LEVEL_{level(score).upper()}")


def quota(given: Quota | None) -> artworkspb.Quota | None:
    """The state of a daily quota; None, which leaves a field unset, where nothing was counted."""
    if given is None:
        return None
    return artworkspb.Quota(limit=given.limit, remaining=given.remaining, reset_delay=duration(given.reset_ms))


def erasure_id(resource_name: str) -> str:
    """The id in erasures/{erasure_id}. Raises InvalidArgument."""
    return parse_id(ERASURES, resource_name)


def user(person: User, viewer_id: str) -> userspb.User:
    """A user as the viewer may see them."""
    mine = bool(viewer_id) and person.id == viewer_id
    return userspb.User(
        user_id=person.id,
        display_name=person.display_name if mine or not person.hide_name else "",
        email=person.email if mine or not person.hide_email else "",
        picture_uri=person.picture_uri,
        hide_name=person.hide_name,
        hide_email=person.hide_email,
        create_time=timestamp(person.create_ms),
        update_time=timestamp(person.update_ms),
    )


def erasure(given: Erasure) -> userspb.Erasure:
    """The receipt of an erasure."""
    return userspb.Erasure(
        name=name(ERASURES, given.id),
        artwork_count=given.artwork_count,
        like_count=given.like_count,
        favorite_count=given.favorite_count,
        object_count=given.object_count,
        remaining_object_count=given.remaining_count,
        create_time=timestamp(given.create_ms),
    )


def record(given: ExportRecord, viewer_id: str, rendering: Wire) -> userspb.ExportUserResponse:
    """One record of an export."""
    response = userspb.ExportUserResponse
    match given:
        case User():
            return response(user=user(given, viewer_id))
        case Card():
            return response(artwork=rendering.artwork(given, viewer_id))
        case (Shelf.LIKES, ListEntry() as entry):
            return response(like=reaction(entry))
        case (_, ListEntry() as entry):
            return response(favorite=reaction(entry))
        case str() | Entry() | Report():
            return _other_record(given, rendering)


def _other_record(given: str | Entry | Report, rendering: Wire) -> userspb.ExportUserResponse:
    """A record of an export that is a file, a ledger entry or a report."""
    response = userspb.ExportUserResponse
    match given:
        case Entry():
            return response(credit_entry=entry(given))
        case Report():
            reported = name(COLLECTION, given.artwork_id)
            rendered = response.Report(artwork=reported, reason=given.reason, create_time=timestamp(given.create_ms))
            return response(report=rendered)
        case str():
            return response(file=response.File(object=name(OBJECTS, given), uri=rendering.uri(given)))


def reaction(entry: ListEntry) -> userspb.ExportUserResponse.Reaction:
    """A like or favourite."""
    reacted = name(COLLECTION, entry.card.artwork.id)
    return userspb.ExportUserResponse.Reaction(artwork=reacted, create_time=timestamp(int(entry.value)))


def entry(given: Entry) -> userspb.ExportUserResponse.CreditEntry:
    """A ledger entry."""
    return userspb.ExportUserResponse.CreditEntry(
        kind=given.kind, amount=given.amount, create_time=timestamp(given.create_ms)
    )


def check_in(status: CheckIn, today: int, added: int = 0) -> creditspb.CheckInStatus:
    """A user's check-in status."""
    return creditspb.CheckInStatus(
        checked_in=status.day == today,
        streak_days=status.streak,
        total_count=status.total,
        last_date=date_of(status.day),
        added_credits=added,
    )


def report(given: Report) -> communityadminpb.Report:
    """A report."""
    return communityadminpb.Report(
        artwork=name(COLLECTION, given.artwork_id),
        user_id=given.user_id,
        reason=given.reason,
        hidden=given.hidden,
        create_time=timestamp(given.create_ms),
    )


def parked(fault: WorkFault) -> communityadminpb.ParkedCommunityWork:
    """A parked piece of work."""
    return communityadminpb.ParkedCommunityWork(
        loop=fault.loop,
        work=fault.work_id,
        tries=fault.count,
        cause=fault.cause,
        trace=fault.trace,
        first_failure_time=timestamp(fault.first_ms),
        park_time=timestamp(fault.park_ms),
    )
