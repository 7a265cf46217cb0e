"""The number of shares of each list, kept in the transaction of each change: counting a million takes a second."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, literal, select, union_all

from services.chassis.database import Transaction, upsert
from services.share.model import SHOWN, Facet, Share, View, Visibility
from services.share.stores.tables import share, share_count, share_tag

PARTS = 8  # rows that hold one count together, so that concurrent writers seldom wait for one another
MAX_CORRECTED = 1000  # counts that are corrected in one transaction; the next reconciliation finds the rest
MARK = "mark"  # facet of the row that a reconciliation locks; it counts nothing
ALL = tuple(map(Visibility, range(8)))
STORED = "stored"  # counts the shares whose picture is stored, as if that were a facet

Key = tuple[str, str, int, int]
"""Facet, value, visibility and part."""


def keys(share: Share, visibility: Visibility) -> Iterator[Key]:
    """The counts that a share belongs to while it has this visibility."""
    facets = [(Facet.NONE, ""), (Facet.STYLE, share.style), (Facet.MODEL, share.model)]
    facets += [(Facet.TAG, tag) for tag in dict.fromkeys(share.seo_tags)]
    values = [(str(facet), value) for facet, value in facets] + ([(STORED, "")] if share.stored else [])
    return ((facet, value, int(visibility), share.sequence % PARTS) for facet, value in values)


def add_share(transaction: Transaction, share: Share) -> None:
    """Count a share that is new."""
    _add(transaction, Counter(keys(share, share.visibility)))


def remove_shares(transaction: Transaction, shares: Iterable[Share]) -> None:
    """Stop counting deleted shares."""
    gone = Counter(key for share in shares for key in keys(share, share.visibility))
    _add(transaction, {key: -number for key, number in gone.items()})


def move_published(transaction: Transaction, share: Share) -> None:
    """Move a share that was just published from its old counts to its new ones."""
    before = share.visibility_before
    _add(transaction, dict.fromkeys(keys(share, share.visibility), 1) | dict.fromkeys(keys(share, before), -1))


def _add(transaction: Transaction, changes: dict[Key, int]) -> None:
    """Add to counts, in the order of their keys: in different orders two writers could deadlock."""
    if not changes:
        return
    names = ("facet", "value", "visibility", "part", "count")
    rows = [dict(zip(names, (*key, number), strict=True)) for key, number in sorted(changes.items())]
    statement = upsert(transaction, share_count)
    added = {"count": share_count.c.count + statement.excluded.count}
    # Row by row: with all rows as its values, a statement would be compiled anew each time.
    transaction.execute(statement.on_conflict_do_update(index_elements=names[:4], set_=added), rows)


def total(view: View) -> Select[int]:
    """How many shares a list holds."""
    return _sum(str(view.facet), view.value, SHOWN[view.policy])


def stored() -> Select[int]:
    """How many pictures are stored."""
    return _sum(STORED, "", ALL)


def all_shares() -> Select[int]:
    """How many shares there are, listed or not."""
    return _sum(str(Facet.NONE), "", ALL)


def drift() -> Select[Any]:
    """The difference between rows and counts, where there is one; one statement, so one snapshot.

    A change that counts as it should leaves the drift as it is: it may be added at any later moment.
    """
    names = ("facet", "value", "visibility")
    counted = union_all(
        _counted(share, Facet.NONE, literal("")),
        _counted(share, Facet.STYLE, share.c.style),
        _counted(share, Facet.MODEL, share.c.model),
        _counted(share_tag, Facet.TAG, share_tag.c.tag),
        _counted(share, STORED, literal("")).where(share.c.stored),
        select(*(share_count.c[name] for name in names), -share_count.c.count).where(share_count.c.facet != MARK),
    ).subquery()
    columns = [column.label(name) for column, name in zip(counted.c, (*names, "count"), strict=True)]
    rows = select(*columns).subquery()
    off = func.sum(rows.c.count)
    keys = [rows.c[name] for name in names]
    return select(*keys, off.label("off")).group_by(*keys).having(off != 0).order_by(*keys)


def reconcile(transaction: Transaction) -> int:
    """Correct at most MAX_CORRECTED counts; returns the drift of all. Serialised by a row lock."""
    _add(transaction, {(MARK, "", 0, 0): 0})  # locks the row: a second one would add the same again
    found = transaction.execute(drift()).all()
    _add(transaction, {(each.facet, each.value, each.visibility, 0): int(each.off) for each in found[:MAX_CORRECTED]})
    return sum(abs(int(each.off)) for each in found)


def _counted(table: Table, facet: str, value: ColumnElement[str]) -> Select[Any]:
    """A select of one row for each share: facet, value and visibility, and the number one."""
    columns = (literal(str(facet)).label("facet"), value.label("value"), table.c.visibility, literal(1).label("count"))
    return select(*columns)


def _sum(facet: str, value: str, shown: tuple[Visibility, ...]) -> Select[int]:
    wanted = (share_count.c.facet == facet, share_count.c.value == value)
    statement = select(func.coalesce(func.sum(share_count.c.count), 0))
    return statement.where(*wanted, share_count.c.visibility.in_([int(each) for each in shown]))
