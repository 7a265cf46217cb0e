"""The daily quota: how many orders each caller has placed on a day."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "quota_use",
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("used", sa.BigInteger, nullable=False),
    )
