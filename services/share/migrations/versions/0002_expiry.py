"""An index by age, for operators who let shares expire."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("share_by_create_ms", "share", ["create_ms"])
