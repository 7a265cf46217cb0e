"""Adds what a look at each picture tells: its size as people see it, and a ThumbHash."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Rows that are here already have not been looked at.
    op.add_column("object", sa.Column("width", sa.Integer, nullable=False, server_default="0"))
    op.add_column("object", sa.Column("height", sa.Integer, nullable=False, server_default="0"))
    op.add_column("object", sa.Column("thumb_hash", sa.Text, nullable=False, server_default=""))
