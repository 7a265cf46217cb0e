"""Translates between the model and kawaii.community.v1's users, credits, reports and parked work."""

from kawaii.community.v1 import admin_pb2 as adminpb
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import users_pb2 as userspb

from services.chassis.names import name, parse_id
from services.chassis.parking import WorkFault
from services.community.core.credits import date_of
from services.community.core.users import ExportRecord
from services.community.model import Card, CheckIn, Entry, Erasure, Mark, Report, Shelf, User
from services.community.wire import COLLECTION, OBJECTS, Wire, timestamp

ERASURES = "erasures"


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
        case (Shelf.LIKES, Mark() as mark):
            return response(like=reaction(mark))
        case (_, Mark() as mark):
            return response(favorite=reaction(mark))
        case str() | Entry() | Report():
            return other_record(given, rendering)


def other_record(given: str | Entry | Report, rendering: Wire) -> userspb.ExportUserResponse:
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


def reaction(mark: Mark) -> userspb.ExportUserResponse.Reaction:
    """A like or favourite."""
    reacted = name(COLLECTION, mark.card.artwork.id)
    return userspb.ExportUserResponse.Reaction(artwork=reacted, create_time=timestamp(int(mark.value)))


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


def report(given: Report) -> adminpb.Report:
    """A report."""
    return adminpb.Report(
        artwork=name(COLLECTION, given.artwork_id),
        user_id=given.user_id,
        reason=given.reason,
        hidden=given.hidden,
        create_time=timestamp(given.create_ms),
    )


def parked(fault: WorkFault) -> adminpb.ParkedCommunityWork:
    """A parked piece of work."""
    return adminpb.ParkedCommunityWork(
        loop=fault.loop,
        work=fault.work_id,
        tries=fault.count,
        cause=fault.cause,
        trace=fault.trace,
        first_failure_time=timestamp(fault.first_ms),
        park_time=timestamp(fault.park_ms),
    )
