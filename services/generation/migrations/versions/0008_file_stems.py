"""File names: an output's copy has a random name that is known before the copy is made."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
oldest_compatible = "0008"  # code before this revision does not know the version window


def upgrade() -> None:
    """Add the column; empty means the key that holds the generation's id, as copies had it until now."""
    op.add_column("output", sa.Column("file_stem", sa.Text, nullable=False, server_default=""))
