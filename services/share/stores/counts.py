"""Keeps how many shares each list holds, in the transaction of each change: to count a million anew takes a second."""

from collections import Counter
from collections.abc import Iterable, Iterator

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import upsert
from services.share.model import SHOWN, Facet, Share, View, Visibility
from services.share.stores.tables import share_count

PARTS = 8  # rows that hold one count together, so that concurrent writers seldom wait for one another
STORED = "stored"  # counts the shares whose picture is stored, as if that were a facet

Key = tuple[str, str, int, int]
"""Facet, value, visibility and part."""


def keys(share: Share, visibility: Visibility) -> Iterator[Key]:
    """The counts that a share belongs to while it has this visibility."""
    facets = [(Facet.NONE, ""), (Facet.STYLE, share.style), (Facet.MODEL, share.model)]
    facets += [(Facet.TAG, tag) for tag in dict.fromkeys(share.seo_tags)]
    values = [(str(facet), value) for facet, value in facets] + ([(STORED, "")] if share.stored else [])
    return ((facet, value, int(visibility), share.sequence % PARTS) for facet, value in values)


async def came(connection: AsyncConnection, share: Share) -> None:
    """Count a share that is new."""
    await _add(connection, Counter(keys(share, share.visibility)))


async def went(connection: AsyncConnection, shares: Iterable[Share]) -> None:
    """Count shares no longer."""
    gone = Counter(key for share in shares for key in keys(share, share.visibility))
    await _add(connection, {key: -number for key, number in gone.items()})


async def published(connection: AsyncConnection, share: Share) -> None:
    """Count a share where it belongs now that it is published, and no longer where it was."""
    hidden = share.visibility & ~Visibility.PUBLISHED
    await _add(connection, dict.fromkeys(keys(share, share.visibility), 1) | dict.fromkeys(keys(share, hidden), -1))


async def _add(connection: AsyncConnection, changes: dict[Key, int]) -> None:
    """Add to counts, in the order of their keys: two writers who took them in different orders would wait for ever."""
    if not changes:
        return
    names = ("facet", "value", "visibility", "part", "count")
    rows = [dict(zip(names, (*key, number), strict=True)) for key, number in sorted(changes.items())]
    statement = upsert(connection, share_count).values(rows)
    added = {"count": share_count.c.count + statement.excluded.count}
    await connection.execute(statement.on_conflict_do_update(index_elements=names[:4], set_=added))


def total(view: View) -> Select[int]:
    """How many shares a list holds."""
    return _sum(str(view.facet), view.value, SHOWN[view.policy])


def stored() -> Select[int]:
    """How many pictures are stored."""
    return _sum(STORED, "", tuple(map(Visibility, range(4))))


def _sum(facet: str, value: str, shown: tuple[Visibility, ...]) -> Select[int]:
    wanted = (share_count.c.facet == facet, share_count.c.value == value)
    statement = select(func.coalesce(func.sum(share_count.c.count), 0))
    return statement.where(*wanted, share_count.c.visibility.in_([int(each) for each in shown]))
