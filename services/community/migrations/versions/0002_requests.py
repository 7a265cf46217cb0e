"""The caller's id of a request beside the order that it made, and what a repetition must repeat."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("artwork_order", sa.Column("request_key", sa.Text))
    op.add_column("artwork_order", sa.Column("request_digest", sa.Text))
    op.create_index("artwork_order_by_request", "artwork_order", ["user_id", "request_key"], unique=True)
