"""Faults: work that failed with an unexpected exception is counted, and parked where operators see it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "work_fault",
        sa.Column("loop", sa.Text, primary_key=True),
        sa.Column("work_id", sa.Text, primary_key=True),
        sa.Column("faults", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("trace", sa.Text, nullable=False),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("park_ms", sa.BigInteger, nullable=False),
    )
