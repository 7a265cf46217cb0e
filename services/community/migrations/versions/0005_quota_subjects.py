"""Whom generation's daily quotas count an order for, until generation has answered."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; an older version writes none, and its orders count for the site alone."""
    op.add_column("artwork_order", sa.Column("quota_subjects", sa.Text))
