"""Keeps what is about to be written and what was deleted, for bytes that a crash parts from their row."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEY = sa.String(512, collation="C").with_variant(sa.String(512), "sqlite")


def upgrade() -> None:
    op.create_table(
        "announced",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tombstone",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
        sa.Column("swept", sa.Boolean, nullable=False),
    )
    op.create_index("tombstone_oldest", "tombstone", ["create_ms"])
