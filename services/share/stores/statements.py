"""The SQL of the share service; a list is merged from one index range per visibility, so it stays cheap as it grows."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import (
    Column,
    Select,
    Subquery,
    Table,
    Update,
    case,
    delete,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate

from services.chassis.database import upsert
from services.share.model import SHOWN, Facet, Share, View, Visibility
from services.share.stores.tables import share, share_tag

COLUMNS = tuple(share.c[field.name] for field in fields(Share))
FACETS: dict[Facet, tuple[Table, Column[str] | None]] = {
    Facet.NONE: (share, None),
    Facet.STYLE: (share, share.c.style),
    Facet.MODEL: (share, share.c.model),
    Facet.TAG: (share_tag, share_tag.c.tag),
}
NEWEST_FIRST = share.c.sequence.desc()
LATEST_FIRST = (share.c.generate_ms.desc(), share.c.sequence.desc())


def insert_or_find(connection: AsyncConnection, row: dict[str, Any]) -> ReturningInsert[*tuple[Any, ...]]:
    """Insert a share, or return the one with its digest. The empty update locks it, so that it cannot vanish before."""
    statement = upsert(connection, share).values(row)
    same = {"generated_digest": share.c.generated_digest}
    return statement.on_conflict_do_update(index_elements=list(same), set_=same).returning(*COLUMNS)


def insert_new(connection: AsyncConnection, row: dict[str, Any]) -> ReturningInsert[*tuple[Any, ...]]:
    """Insert a share, or return nothing when one has its id or its digest."""
    return upsert(connection, share).values(row).on_conflict_do_nothing().returning(*COLUMNS)


def same(row: dict[str, Any]) -> Select[Any]:
    """The share that keeps a row out, the one with its id first."""
    has_id = share.c.id == row["id"]
    wanted = select(*COLUMNS).where(or_(has_id, share.c.generated_digest == row["generated_digest"]))
    return wanted.order_by(case((has_id, 0), else_=1)).limit(1)


def records(after: int, limit: int) -> Select[Any]:
    """All shares beyond a sequence, oldest first, with the digests of their tokens."""
    columns = select(*COLUMNS, share.c.token_digest)
    return columns.where(share.c.sequence > after).order_by(share.c.sequence).limit(limit)


def page(view: View, *, limit: int, before: int, skip: int) -> Select[Any]:
    """A page of a list, newest first."""
    table, _ = FACETS[view.facet]
    newest = table.c.sequence.desc()
    ranges = (_in(view, each).where(table.c.sequence < before).order_by(newest) for each in SHOWN[view.policy])
    merged = _merged([each.limit(skip + limit) for each in ranges])
    wanted = select(merged.c.sequence).order_by(merged.c.sequence.desc()).offset(skip).limit(limit)
    return select(*COLUMNS).where(share.c.sequence.in_(wanted)).order_by(NEWEST_FIRST)


def latest(view: View, limit: int) -> Select[Any]:
    """The shares of a list that is not narrowed, whose pictures were made last."""
    ranges = (_in(view, each).order_by(*LATEST_FIRST).limit(limit) for each in SHOWN[view.policy])
    wanted = select(_merged(list(ranges)).c.sequence)
    return select(*COLUMNS).where(share.c.sequence.in_(wanted)).order_by(*LATEST_FIRST).limit(limit)


def publish(share_id: str, now_ms: int) -> ReturningUpdate[Any]:
    """Publish a share that is not yet, and return it."""
    hidden = update(share).where(share.c.id == share_id, share.c.publish_ms == 0)
    return _published(hidden, share).values(publish_ms=now_ms).returning(*COLUMNS)


def publish_tags(sequence: int) -> Update:
    """Let the tags of a share that was just published say so."""
    return _published(update(share_tag).where(share_tag.c.sequence == sequence), share_tag)


def links(view: View, after: int, until: int) -> Select[Any]:
    """What a sitemap needs of the shares of a list that is not narrowed, within a range of sequences."""
    shown = share.c.visibility.in_([int(each) for each in SHOWN[view.policy]])
    columns = select(share.c.id, share.c.create_ms, share.c.publish_ms)
    return columns.where(shown, share.c.sequence > after, share.c.sequence <= until).order_by(share.c.sequence)


def expire(before_ms: int, limit: int) -> ReturningDelete[Any]:
    """Delete the oldest shares that neither began nor were published since, and return them."""
    old = select(share.c.id).where(share.c.create_ms < before_ms, share.c.publish_ms < before_ms)
    chosen = old.order_by(share.c.create_ms).limit(limit)
    return forget(chosen)


def forget(ids: Select[Any] | Sequence[str]) -> ReturningDelete[Any]:
    """Delete shares and return them."""
    return delete(share).where(share.c.id.in_(ids)).returning(*COLUMNS)


def _in(view: View, visibility: Visibility) -> Select[Any]:
    table, column = FACETS[view.facet]
    # Written out: for a value it does not know, PostgreSQL plans as if it were common, and reads all when it is rare.
    shown = table.c.visibility == literal_column(str(int(visibility)))
    statement = select(table.c.sequence).where(shown)
    return statement if column is None else statement.where(column == view.value)


def _merged(ranges: list[Select[Any]]) -> Subquery:
    """SQLite takes a LIMIT within a UNION only inside a subquery."""
    return union_all(*(select(each.subquery().c.sequence) for each in ranges)).subquery()


def _published(statement: Update, table: Table) -> Update:
    unlisted = case((table.c.visibility >= int(Visibility.UNLISTED), int(Visibility.UNLISTED)), else_=0)
    return statement.values(visibility=table.c.visibility - unlisted + int(Visibility.PUBLISHED))
