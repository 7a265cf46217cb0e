"""Makes very many shares in a moment, by letting the database copy those it has."""

from importlib import import_module

from sqlalchemy import String, cast, delete, func, insert, literal, select, text

from services.chassis.database import Database, Transaction
from services.share.stores.tables import share, share_count

MIGRATION = import_module("services.share.migrations.versions.0003_counts")
COPIED = [column for column in share.c if column.name not in {"sequence", "id", "generated_digest", "generate_ms"}]


async def grow(database: Database, number: int) -> None:
    """Copy the shares that are there, untagged, until there are so many; there must be one."""
    rows = select(func.count()).select_from(share)
    total = await database.read(lambda transaction: transaction.scalar(rows)) or 0
    while total < number:
        total += await database.write(double, number - total)
    await database.write(recount)


def double(transaction: Transaction, most: int) -> int:
    """Copy each share once, at most so many; how many were made."""
    own = literal("copy_") + cast(share.c.sequence + select(func.max(share.c.sequence)).scalar_subquery(), String)
    made = [(literal("share_") + own).label("id"), own.label("digest"), share.c.generate_ms + share.c.sequence]
    rows = select(*made, *COPIED).order_by(share.c.sequence).limit(most)
    columns = ["id", "generated_digest", "generate_ms", *(column.name for column in COPIED)]
    return transaction.execute(insert(share).from_select(columns, rows)).rowcount


def recount(transaction: Transaction) -> None:
    """Count all shares anew, as the migration does."""
    transaction.execute(delete(share_count))
    for counted in MIGRATION.COUNTS:
        transaction.execute(text(MIGRATION.INSERT + counted))
