"""Retention: closed webhooks are found by age, and how far the outbox was pruned is known."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the index and the table."""
    op.create_index("inbox_age", "inbox", ["create_ms"])
    op.create_table(
        "pruned",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("through", sa.BigInteger, nullable=False),
    )
