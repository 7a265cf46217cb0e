"""Gone: since when a picture could not be had anywhere, so that it counts as lost only after days."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    op.add_column("output", sa.Column("gone_ms", sa.BigInteger, nullable=False, server_default="0"))
