"""Shares in SQL, on SQLite and PostgreSQL alike."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningDelete

from services.chassis.database import Database
from services.chassis.shielding import shielded
from services.share.model import NEWEST, Policy, Share, ShareRecord, SitemapLink, Stats, View
from services.share.stores import counts, statements
from services.share.stores.rows import to_record, to_row, to_share
from services.share.stores.tables import share, share_tag


@shielded
class SqlShares:
    """A ShareStore on one database. Tags lie in a table of their own, written with their share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, given: Share, token_digest: str) -> Share:
        """Insert the share and its tags, or return the older one."""
        async with self._database.write() as connection:
            result = await connection.execute(statements.insert_or_find(connection, to_row(given, token_digest)))
            kept = to_share(result.mappings().one())
            if kept.id == given.id:
                await _insert_tags(connection, kept)
        return kept

    async def find(self, share_id: str) -> Share | None:
        """Select one row."""
        return (await self.batch([share_id])).get(share_id)

    async def batch(self, share_ids: Sequence[str]) -> dict[str, Share]:
        """Select the rows."""
        found = await self._read(select(*statements.COLUMNS).where(share.c.id.in_(share_ids)))
        return {each.id: each for each in found}

    async def token_digest(self, share_id: str) -> str | None:
        """Select the digest."""
        async with self._database.read() as connection:
            digest: str | None = await connection.scalar(select(share.c.token_digest).where(share.c.id == share_id))
        return digest

    async def page(self, view: View, *, limit: int, before: int = NEWEST, skip: int = 0) -> tuple[Share, ...]:
        """Select a page."""
        return await self._read(statements.page(view, limit=limit, before=before, skip=skip))

    async def latest(self, view: View, limit: int) -> tuple[Share, ...]:
        """Select the latest."""
        return await self._read(statements.latest(view, limit))

    async def total(self, view: View) -> int:
        """Add up a few rows."""
        return await self._sum(counts.total(view))

    async def publish(self, share_id: str, now_ms: int) -> Share | None:
        """Set the time and the visibility of the share and its tags, in one transaction."""
        async with self._database.write() as connection:
            row = (await connection.execute(statements.publish(share_id, now_ms))).mappings().one_or_none()
            if row is not None:
                published = to_share(row)
                await connection.execute(statements.publish_tags(published.sequence))
                await counts.move_published(connection, published)
                return published
        return await self.find(share_id)

    async def delete(self, share_id: str) -> bool:
        """Delete the row; its tags are deleted by cascade."""
        return bool(await self._forget(statements.forget([share_id])))

    async def links(self, view: View, after: int, until: int) -> tuple[SitemapLink, ...]:
        """Select a range of the primary key."""
        async with self._database.read() as connection:
            rows = (await connection.execute(statements.links(view, after, until))).all()
        return tuple(SitemapLink(share_id, max(create_ms, publish_ms)) for share_id, create_ms, publish_ms in rows)

    async def last_sequence(self, view: View) -> int:
        """Select the newest share of the list."""
        found = await self.page(view, limit=1)
        return found[0].sequence if found else 0

    async def records(self, after: int, limit: int) -> tuple[ShareRecord, ...]:
        """Select a range of the primary key."""
        async with self._database.read() as connection:
            rows = (await connection.execute(statements.records(after, limit))).mappings().all()
        return tuple(map(to_record, rows))

    async def restore(self, record: ShareRecord) -> tuple[bool, Share | None]:
        """Insert the share and its tags, or select the older one."""
        row = to_row(record.share, record.token_digest)
        async with self._database.write() as connection:
            found = (await connection.execute(statements.insert_new(connection, row))).mappings().one_or_none()
            if found is not None:
                kept = to_share(found)
                await _insert_tags(connection, kept)
                return True, kept
            older = (await connection.execute(statements.same(row))).mappings().first()
        return False, to_share(older) if older else None

    async def expire(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Delete the rows; their tags are deleted by cascade."""
        return await self._forget(statements.expire(before_ms, limit))

    async def stats(self, now_ms: int) -> Stats:
        """Add up a few rows."""
        return Stats(
            total=await self._sum(counts.all_shares()),
            stored=await self._sum(counts.stored()),
            published=await self.total(View(Policy.PUBLISHED)),
            update_ms=now_ms,
        )

    async def reconcile(self) -> int:
        """Compare in a read transaction, which blocks nobody; write only if there is drift."""
        async with self._database.read() as connection:
            wrong = (await connection.execute(counts.drift().limit(1))).first()
        if wrong is None:
            return 0
        async with self._database.write() as connection:
            return await counts.reconcile(connection)

    async def _forget(self, statement: ReturningDelete[Any]) -> tuple[str, ...]:
        async with self._database.write() as connection:
            gone = [to_share(row) for row in (await connection.execute(statement)).mappings()]
            await counts.remove_shares(connection, gone)
        return tuple(share.id for share in gone)

    async def _sum(self, statement: Select[int]) -> int:
        async with self._database.read() as connection:
            return int(await connection.scalar(statement) or 0)

    async def _read(self, statement: Select[Any]) -> tuple[Share, ...]:
        async with self._database.read() as connection:
            return tuple(map(to_share, (await connection.execute(statement)).mappings()))


async def _insert_tags(connection: AsyncConnection, kept: Share) -> None:
    await counts.add_share(connection, kept)
    if rows := _tag_rows(kept):
        await connection.execute(insert(share_tag), rows)


def _tag_rows(kept: Share) -> list[dict[str, Any]]:
    visibility = int(kept.visibility)
    return [{"sequence": kept.sequence, "tag": tag, "visibility": visibility} for tag in dict.fromkeys(kept.seo_tags)]
