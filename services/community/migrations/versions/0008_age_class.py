"""Which windows of the trending list an artwork lies in, so that a page of each is read from an index."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
oldest_compatible = "0008"  # code before this revision does not know the version window

HOUR_MS = 3_600_000
AGES = (HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS, 7 * 24 * HOUR_MS, 30 * 24 * HOUR_MS)

artwork = sa.table(
    "artwork",
    sa.column("publish_ms", sa.BigInteger),
    sa.column("age_class", sa.SmallInteger),
    sa.column("hot_due_ms", sa.BigInteger),
)


def upgrade() -> None:
    op.add_column("artwork", sa.Column("age_class", sa.SmallInteger, nullable=False, server_default="0"))
    now = time.time_ns() // 1_000_000
    publish_ms = artwork.c.publish_ms
    classes = sa.case(*((publish_ms >= now - age, number) for number, age in enumerate(AGES)), else_=len(AGES))
    op.execute(artwork.update().where(publish_ms > 0).values(age_class=classes))
    op.execute(artwork.update().where(publish_ms >= now - AGES[-1]).values(hot_due_ms=0))
    op.create_index("artwork_by_age", "artwork", ["listed", "age_class", "hot_score", "id"])
