"""Shares that only their link leads to; and no picture that is said to be made after it was shared."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
oldest_compatible = "0005"  # code before this revision does not know the version window


def upgrade() -> None:
    op.add_column("share", sa.Column("unlisted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("UPDATE share SET generate_ms = create_ms WHERE generate_ms > create_ms")
