"""Shares in SQL, on SQLite and PostgreSQL alike.

A page of a list is merged from one index range for each visibility that the list shows, so it stays cheap as it grows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import (
    Column,
    RowMapping,
    Select,
    Subquery,
    Table,
    Update,
    case,
    delete,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate

from services.chassis.database import Transaction, upsert
from services.share.model import (
    NEWEST,
    SHOWN,
    Facet,
    Policy,
    Seo,
    Share,
    ShareRecord,
    SitemapLink,
    Stats,
    View,
    Visibility,
)
from services.share.stores import counts
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
KEYWORDS = ("keywords_ja", "keywords_en")


class SqlShares:
    """A ShareStore. Tags lie in a table of their own, written with their share."""

    def insert(self, transaction: Transaction, given: Share, token_digest: str) -> Share:
        """Insert the share and its tags, or return the older one."""
        result = transaction.execute(_insert_or_find(transaction, _to_row(given, token_digest)))
        kept = _to_share(result.mappings().one())
        if kept.id == given.id:
            _insert_tags(transaction, kept)
        return kept

    def find(self, transaction: Transaction, share_id: str) -> Share | None:
        """Select one row."""
        return self.batch(transaction, [share_id]).get(share_id)

    def batch(self, transaction: Transaction, share_ids: Sequence[str]) -> dict[str, Share]:
        """Select the rows."""
        found = _read(transaction, select(*COLUMNS).where(share.c.id.in_(share_ids)))
        return {each.id: each for each in found}

    def token_digest(self, transaction: Transaction, share_id: str) -> str | None:
        """Select the digest."""
        return transaction.scalar(select(share.c.token_digest).where(share.c.id == share_id))

    def page(
        self, transaction: Transaction, view: View, *, limit: int, before: int = NEWEST, skip: int = 0
    ) -> tuple[Share, ...]:
        """Select a page."""
        return _read(transaction, select_page(view, limit=limit, before=before, skip=skip))

    def latest(self, transaction: Transaction, view: View, limit: int) -> tuple[Share, ...]:
        """Select the latest."""
        return _read(transaction, select_latest(view, limit))

    def total(self, transaction: Transaction, view: View) -> int:
        """Add up a few rows."""
        return _sum(transaction, counts.total(view))

    def publish(self, transaction: Transaction, share_id: str, now_ms: int) -> Share | None:
        """Set the time and the visibility of the share and its tags."""
        row = transaction.execute(_publish(share_id, now_ms)).mappings().one_or_none()
        if row is None:
            return self.find(transaction, share_id)
        published = _to_share(row)
        transaction.execute(_publish_tags(published.sequence))
        counts.move_published(transaction, published)
        return published

    def delete(self, transaction: Transaction, share_id: str) -> bool:
        """Delete the row; its tags are deleted by cascade."""
        return bool(_forget(transaction, _deleted([share_id])))

    def links(self, transaction: Transaction, view: View, after: int, until: int) -> tuple[SitemapLink, ...]:
        """Select a range of the primary key."""
        rows = transaction.execute(_links(view, after, until)).all()
        return tuple(SitemapLink(share_id, max(create_ms, publish_ms)) for share_id, create_ms, publish_ms in rows)

    def last_sequence(self, transaction: Transaction, view: View) -> int:
        """Select the newest share of the list."""
        found = self.page(transaction, view, limit=1)
        return found[0].sequence if found else 0

    def records(self, transaction: Transaction, after: int, limit: int) -> tuple[ShareRecord, ...]:
        """Select a range of the primary key."""
        return tuple(map(_to_record, transaction.execute(_records(after, limit)).mappings()))

    def restore(self, transaction: Transaction, record: ShareRecord) -> tuple[bool, Share | None]:
        """Insert the share and its tags, or select the older one."""
        row = _to_row(record.share, record.token_digest)
        found = transaction.execute(_insert_new(transaction, row)).mappings().one_or_none()
        if found is not None:
            kept = _to_share(found)
            _insert_tags(transaction, kept)
            return True, kept
        older = transaction.execute(_same(row)).mappings().first()
        return False, _to_share(older) if older else None

    def expire(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[str, ...]:
        """Delete the rows; their tags are deleted by cascade."""
        return _forget(transaction, _expired(before_ms, limit))

    def has_drift(self, transaction: Transaction) -> bool:
        """Compare the counts with all rows."""
        return transaction.execute(counts.drift().limit(1)).first() is not None

    def reconcile(self, transaction: Transaction) -> int:
        """Compare the counts with all rows, and correct them."""
        return counts.reconcile(transaction)

    def stats(self, transaction: Transaction, now_ms: int) -> Stats:
        """Add up a few rows."""
        return Stats(
            total=_sum(transaction, counts.all_shares()),
            stored=_sum(transaction, counts.stored()),
            published=self.total(transaction, View(Policy.PUBLISHED)),
            update_ms=now_ms,
        )


def _forget(transaction: Transaction, statement: ReturningDelete[Any]) -> tuple[str, ...]:
    gone = _read(transaction, statement)
    counts.remove_shares(transaction, gone)
    return tuple(share.id for share in gone)


def _sum(transaction: Transaction, statement: Select[int]) -> int:
    return int(transaction.scalar(statement) or 0)


def _read(transaction: Transaction, statement: Select[Any] | ReturningDelete[Any]) -> tuple[Share, ...]:
    return tuple(map(_to_share, transaction.execute(statement).mappings()))


def _insert_tags(transaction: Transaction, kept: Share) -> None:
    counts.add_share(transaction, kept)
    if rows := _tag_rows(kept):
        transaction.execute(insert(share_tag), rows)


def _tag_rows(kept: Share) -> list[dict[str, Any]]:
    visibility = int(kept.visibility)
    return [{"sequence": kept.sequence, "tag": tag, "visibility": visibility} for tag in dict.fromkeys(kept.seo_tags)]


def _insert_or_find(transaction: Transaction, row: dict[str, Any]) -> ReturningInsert[*tuple[Any, ...]]:
    """Insert a share, or return the one with its digest. The empty update locks it, so that it cannot vanish before."""
    statement = upsert(transaction, share).values(row)
    same = {"generated_digest": share.c.generated_digest}
    return statement.on_conflict_do_update(index_elements=list(same), set_=same).returning(*COLUMNS)


def _insert_new(transaction: Transaction, row: dict[str, Any]) -> ReturningInsert[*tuple[Any, ...]]:
    """Insert a share, or return nothing when one has its id or its digest."""
    return upsert(transaction, share).values(row).on_conflict_do_nothing().returning(*COLUMNS)


def _same(row: dict[str, Any]) -> Select[Any]:
    """The share because of which a row cannot be inserted; one with the same id comes first."""
    has_id = share.c.id == row["id"]
    wanted = select(*COLUMNS).where(or_(has_id, share.c.generated_digest == row["generated_digest"]))
    return wanted.order_by(case((has_id, 0), else_=1)).limit(1)


def _records(after: int, limit: int) -> Select[Any]:
    """All shares beyond a sequence, oldest first, with the digests of their tokens."""
    columns = select(*COLUMNS, share.c.token_digest)
    return columns.where(share.c.sequence > after).order_by(share.c.sequence).limit(limit)


def select_page(view: View, *, limit: int, before: int, skip: int) -> Select[Any]:
    """A page of a list, newest first."""
    table, _ = FACETS[view.facet]
    newest = table.c.sequence.desc()
    ranges = (_in(view, each).where(table.c.sequence < before).order_by(newest) for each in SHOWN[view.policy])
    merged = _merged([each.limit(skip + limit) for each in ranges])
    wanted = select(merged.c.sequence).order_by(merged.c.sequence.desc()).offset(skip).limit(limit)
    return select(*COLUMNS).where(share.c.sequence.in_(wanted)).order_by(NEWEST_FIRST)


def select_latest(view: View, limit: int) -> Select[Any]:
    """The shares of a list without a facet whose pictures were made last."""
    ranges = (_in(view, each).order_by(*LATEST_FIRST).limit(limit) for each in SHOWN[view.policy])
    wanted = select(_merged(list(ranges)).c.sequence)
    return select(*COLUMNS).where(share.c.sequence.in_(wanted)).order_by(*LATEST_FIRST).limit(limit)


def _publish(share_id: str, now_ms: int) -> ReturningUpdate[Any]:
    """Publish a share that is not published yet, and return it."""
    hidden = update(share).where(share.c.id == share_id, share.c.publish_ms == 0)
    return _published(hidden, share).values(publish_ms=now_ms).returning(*COLUMNS)


def _publish_tags(sequence: int) -> Update:
    """Set the visibility of the tags of a share that was just published."""
    return _published(update(share_tag).where(share_tag.c.sequence == sequence), share_tag)


def _links(view: View, after: int, until: int) -> Select[*tuple[Any, ...]]:
    """Id and times of the shares of a list without a facet, within a range of sequences, for a sitemap."""
    shown = share.c.visibility.in_([int(each) for each in SHOWN[view.policy]])
    columns = select(share.c.id, share.c.create_ms, share.c.publish_ms)
    return columns.where(shown, share.c.sequence > after, share.c.sequence <= until).order_by(share.c.sequence)


def _expired(before_ms: int, limit: int) -> ReturningDelete[Any]:
    """Delete the oldest shares that neither began nor were published since, and return them."""
    old = select(share.c.id).where(share.c.create_ms < before_ms, share.c.publish_ms < before_ms)
    chosen = old.order_by(share.c.create_ms).limit(limit)
    return _deleted(chosen)


def _deleted(ids: Select[Any] | Sequence[str]) -> ReturningDelete[Any]:
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


def _to_row(given: Share, token_digest: str) -> dict[str, Any]:
    """The values of every column of a share but the sequence, which the database counts."""
    row = asdict(given) | {
        "generated_digest": hashlib.sha256(given.generated_ref.encode()).hexdigest(),
        "seo_tags": json.dumps(given.seo_tags, ensure_ascii=False),
        "seo": json.dumps(asdict(given.seo), ensure_ascii=False),
        "visibility": int(given.visibility),
        "token_digest": token_digest,
    }
    del row["sequence"]
    return row


def _to_share(row: RowMapping | Mapping[str, Any]) -> Share:
    """The share in a row of COLUMNS."""
    seo_texts = json.loads(row["seo"])
    seo = Seo(**seo_texts | {name: tuple(seo_texts[name]) for name in KEYWORDS})
    return Share(**dict(row) | {"seo": seo, "seo_tags": tuple(json.loads(row["seo_tags"]))})


def _to_record(row: RowMapping) -> ShareRecord:
    """The record in a row of COLUMNS and the token's digest."""
    columns = dict(row)
    digest: str = columns.pop("token_digest")
    return ShareRecord(_to_share(columns), digest)
