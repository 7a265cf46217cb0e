"""What remains of an erased person: a keyed digest, when they left, and on which day they last checked in."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "erased_person",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("check_in_day", sa.Integer, nullable=False),
        sa.Column("erase_ms", sa.BigInteger, nullable=False),
    )
