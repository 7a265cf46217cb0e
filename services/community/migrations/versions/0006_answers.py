"""Answers to requests that clients named, so that repeating one has no second effect."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "request_answer",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("request_answer_by_due_ms", "request_answer", ["due_ms"])
