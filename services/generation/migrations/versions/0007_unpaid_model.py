"""Models that an account's balance does not suffice for, and the code that refused an attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table and the column."""
    op.create_table(
        "unpaid_model",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("strikes", sa.BigInteger, nullable=False),
        sa.Column("rest_until_ms", sa.BigInteger, nullable=False),
    )
    op.add_column("attempt", sa.Column("code", sa.BigInteger, nullable=False, server_default="0"))
