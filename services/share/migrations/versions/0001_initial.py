"""The shares and their tags."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "share",
        sa.Column("sequence", sequence, sa.Identity(), primary_key=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("generated_digest", sa.String(64), nullable=False, unique=True),
        sa.Column("generated_ref", sa.Text, nullable=False),
        sa.Column("original_ref", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("style", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("generate_ms", sa.BigInteger, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("seo_tags", sa.Text, nullable=False),
        sa.Column("seo", sa.Text, nullable=False),
        sa.Column("visibility", sa.SmallInteger, nullable=False),
        sa.Column("publish_ms", sa.BigInteger, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sqlite_autoincrement=True,  # a sequence is not given out again: page tokens hold it
    )
    op.create_table(
        "share_tag",
        sa.Column("sequence", sequence, sa.ForeignKey("share.sequence", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sa.Column("visibility", sa.SmallInteger, nullable=False),
    )
    create_indexes()


def create_indexes() -> None:
    op.create_index("share_by_visibility", "share", ["visibility", "sequence"])
    op.create_index("share_by_style", "share", ["style", "visibility", "sequence"])
    op.create_index("share_by_model", "share", ["model", "visibility", "sequence"])
    op.create_index("share_by_generate_ms", "share", ["visibility", "generate_ms", "sequence"])
    op.create_index("share_by_stored", "share", ["stored", "visibility"])
    op.create_index("share_tag_by_tag", "share_tag", ["tag", "visibility", "sequence"])
