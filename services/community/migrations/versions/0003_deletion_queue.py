"""The deletion queue says what each entry is and how far its deletion has come; keys held a slash and ids none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("discarded_object", sa.Column("kind", sa.String(16), nullable=False, server_default="OBJECT"))
    op.add_column("discarded_object", sa.Column("state", sa.String(16), nullable=False, server_default="WAITING"))
    op.execute("UPDATE discarded_object SET kind = 'GENERATION' WHERE object_key NOT LIKE '%/%'")
    # A release before this one may have asked storage for any of them.
    op.execute("UPDATE discarded_object SET state = 'DELETING' WHERE tries > 0")
