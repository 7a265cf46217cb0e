"""Lists of artworks in SQL, without read models."""

from sqlalchemy import select

from services.chassis.database import Database
from services.chassis.shielding import shielded
from services.community.model import After, Listing, Mark, Reacted, Reaction
from services.community.stores import statements
from services.community.stores.rows import to_card
from services.community.stores.tables import artwork_favorite


@shielded
class SqlLists:
    """Lists on one database; nothing is cached, so nothing is invalidated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[Mark, ...]:
        """Select a page."""
        async with self._database.read() as connection:
            found = await connection.execute(statements.page(listing, viewer_id, limit, after, skip))
            return tuple([Mark(to_card(row), row["mark"]) for row in found.mappings()])

    async def favorites(self, user_id: str, limit: int) -> tuple[str, ...]:
        """Select ids."""
        mine = select(artwork_favorite.c.artwork_id).where(artwork_favorite.c.user_id == user_id)
        latest = mine.order_by(artwork_favorite.c.create_ms.desc(), artwork_favorite.c.artwork_id.desc())
        async with self._database.read() as connection:
            return tuple((await connection.execute(latest.limit(limit))).scalars())

    async def relisted(self, user_id: str) -> None:
        """Do nothing."""

    async def reacted(self, user_id: str, reaction: Reaction, stands: Reacted) -> None:
        """Do nothing."""

    async def scores_decayed(self) -> None:
        """Do nothing."""
