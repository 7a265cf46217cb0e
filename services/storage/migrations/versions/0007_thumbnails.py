"""The queue of missing thumbnails, which the replicas share, and leases on work that one of them does at a time."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

KEY = sa.String(512, collation="C").with_variant(sa.String(512), "sqlite")


def upgrade() -> None:
    op.create_table(
        "missing_thumb",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("queue_ms", sa.BigInteger, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("missing_thumb_by_due_ms", "missing_thumb", ["due_ms"])
    op.create_table(
        "sole_lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )
