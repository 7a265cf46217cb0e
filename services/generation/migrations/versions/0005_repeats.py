"""Repeats: an order keeps the hash of what its caller sent, and a webhook counts how often it came again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; rows of before have no hash of what was sent, and no repeats."""
    op.add_column("generation", sa.Column("sent_hash", sa.Text, nullable=False, server_default=""))
    op.add_column("inbox", sa.Column("news", sa.BigInteger, nullable=False, server_default="0"))
