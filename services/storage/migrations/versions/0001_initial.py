"""Creates the rows of objects and of upload links."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Keys compare byte by byte, so that a prefix is a range; SQLite does so by itself.
KEY = sa.String(512, collation="C").with_variant(sa.String(512), "sqlite")


def upgrade() -> None:
    op.create_table(
        "object",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("generation_id", sa.Text),
        sa.Column("idx", sa.Integer),
        sa.Column("original_name", sa.Text, nullable=False),
        sa.Column("source_uri", sa.Text, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
        sa.Column("import_digest", sa.String(64)),
        # Both ignore rows with a NULL: an upload has no index, an import for a generation no digest.
        sa.UniqueConstraint("generation_id", "idx", name="object_generation"),
        sa.UniqueConstraint("import_digest", name="object_import"),
    )
    op.create_index("object_newest", "object", ["create_ms", "key"])
    op.create_index("object_of_generation", "object", ["generation_id", "create_ms", "key"])
    op.create_table(
        "upload_link",
        sa.Column("key", KEY, primary_key=True),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("original_name", sa.Text, nullable=False),
        sa.Column("expire_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("upload_link_expiry", "upload_link", ["expire_ms"])
