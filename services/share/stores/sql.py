"""Keeps shares in SQL, on SQLite and PostgreSQL alike."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, insert, select

from services.chassis.database import Database
from services.chassis.unbroken import unbroken
from services.share.model import NEWEST, Link, Share, Stats, Tally, View, Visibility
from services.share.stores import statements
from services.share.stores.rows import to_row, to_share
from services.share.stores.tables import share, share_tag


@unbroken
class SqlShares:
    """A ShareStore on one database. Tags lie in a table of their own, written with their share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, given: Share, token_digest: str) -> Share:
        """Insert it and its tags, or return the older one."""
        async with self._database.write() as connection:
            result = await connection.execute(statements.insert_or_find(connection, to_row(given, token_digest)))
            kept = to_share(result.mappings().one())
            if kept.id == given.id and (rows := _tag_rows(kept)):
                await connection.execute(insert(share_tag), rows)
        return kept

    async def find(self, share_id: str) -> Share | None:
        """Read one row."""
        return (await self.batch([share_id])).get(share_id)

    async def batch(self, share_ids: Sequence[str]) -> dict[str, Share]:
        """Read the rows."""
        found = await self._read(select(*statements.COLUMNS).where(share.c.id.in_(share_ids)))
        return {each.id: each for each in found}

    async def token_digest(self, share_id: str) -> str | None:
        """Read the digest."""
        async with self._database.read() as connection:
            digest: str | None = await connection.scalar(select(share.c.token_digest).where(share.c.id == share_id))
        return digest

    async def page(self, view: View, *, limit: int, before: int = NEWEST, skip: int = 0) -> tuple[Share, ...]:
        """Read a page."""
        return await self._read(statements.page(view, limit=limit, before=before, skip=skip))

    async def latest(self, view: View, limit: int) -> tuple[Share, ...]:
        """Read the latest."""
        return await self._read(statements.latest(view, limit))

    async def tally(self, view: View, after: int = 0) -> Tally:
        """Count in an index."""
        async with self._database.read() as connection:
            total, sequence = (await connection.execute(statements.tally(view, after))).one()
        return Tally(total, sequence or after)

    async def publish(self, share_id: str, now_ms: int) -> Share | None:
        """Set the time and raise the visibility, of its tags too, in one transaction."""
        async with self._database.write() as connection:
            sequence = await connection.scalar(statements.publish(share_id, now_ms))
            if sequence is not None:
                await connection.execute(statements.publish_tags(sequence))
        return await self.find(share_id)

    async def delete(self, share_id: str) -> bool:
        """Delete the row; its tags go with it."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(share).where(share.c.id == share_id))
        return result.rowcount > 0

    async def links(self, view: View, after: int, until: int) -> tuple[Link, ...]:
        """Read a range of the primary key."""
        async with self._database.read() as connection:
            rows = (await connection.execute(statements.links(view, after, until))).all()
        return tuple(Link(share_id, max(create_ms, publish_ms)) for share_id, create_ms, publish_ms in rows)

    async def last_sequence(self, view: View) -> int:
        """Read the ends of the ranges of an index."""
        found = await self.page(view, limit=1)
        return found[0].sequence if found else 0

    async def expire(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Delete the rows; their tags go with them."""
        async with self._database.write() as connection:
            return tuple((await connection.scalars(statements.expire(before_ms, limit))).all())

    async def stats(self, now_ms: int) -> Stats:
        """Count in an index."""
        async with self._database.read() as connection:
            rows = (await connection.execute(statements.counts())).all()
        return Stats(
            total=sum(count for _, _, count in rows),
            stored=sum(count for stored, _, count in rows if stored),
            published=sum(count for _, each, count in rows if Visibility.PUBLISHED in Visibility(each)),
            update_ms=now_ms,
        )

    async def _read(self, statement: Select[Any]) -> tuple[Share, ...]:
        async with self._database.read() as connection:
            return tuple(map(to_share, (await connection.execute(statement)).mappings()))


def _tag_rows(kept: Share) -> list[dict[str, Any]]:
    visibility = int(kept.visibility)
    return [{"sequence": kept.sequence, "tag": tag, "visibility": visibility} for tag in dict.fromkeys(kept.seo_tags)]
