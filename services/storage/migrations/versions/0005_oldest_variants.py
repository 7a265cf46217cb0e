"""An index that finds the oldest variants and holds their sizes, for the budget of bytes that they have together."""

from alembic import op

revision = "0005"
down_revision = "0004"
oldest_compatible = "0005"  # code before this revision does not know the version window


def upgrade() -> None:
    op.create_index("object_of_source", "object", ["source", "create_ms", "key", "size"])
