"""The community: people, artworks, what people think of them, and the credits' ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    create_people()
    create_works()
    create_orders()
    create_reactions()
    create_words()
    create_objects()
    create_ledger()


def create_people() -> None:
    op.create_table(
        "person",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("picture_uri", sa.Text, nullable=False),
        sa.Column("hide_name", sa.Boolean, nullable=False),
        sa.Column("hide_email", sa.Boolean, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
        sa.Column("update_ms", sa.BigInteger, nullable=False),
    )


def create_works() -> None:
    op.create_table(
        "artwork",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey("person.id"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False, unique=True),
        sa.Column("object_key", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("aspect_ratio", sa.Text, nullable=False),
        sa.Column("output_format", sa.Text, nullable=False),
        sa.Column("image_refs", sa.Text, nullable=False),
        sa.Column("like_count", sa.BigInteger, nullable=False),
        sa.Column("favorite_count", sa.BigInteger, nullable=False),
        sa.Column("hot_score", sa.Float(53), nullable=False),
        sa.Column("hot_due_ms", sa.BigInteger, nullable=False),
        sa.Column("hidden", sa.String(8), nullable=False),
        sa.Column("listed", sa.Boolean, nullable=False),
        sa.Column("order_id", sa.String, nullable=False),
        sa.Column("request_key", sa.Text),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
        sa.Column("update_ms", sa.BigInteger, nullable=False),
        sa.Column("publish_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("user_id", "request_key", name="artwork_request"),
    )
    op.create_index("artwork_by_author", "artwork", ["user_id", "listed", "create_ms", "id"])
    op.create_index("artwork_by_hot_due_ms", "artwork", ["hot_due_ms"])
    op.create_index("artwork_by_hot_score", "artwork", ["listed", "hot_score", "id"])
    op.create_index("artwork_by_object", "artwork", ["object_key"])
    op.create_index("artwork_by_owner", "artwork", ["user_id", "create_ms", "id"])
    op.create_index("artwork_by_publish_ms", "artwork", ["listed", "publish_ms", "id"])


def create_orders() -> None:
    op.create_table(
        "artwork_order",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("artwork_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("generation_id", sa.String, unique=True),
        sa.Column("task_id", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("hold", sa.String(16), nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
        sa.Column("complete_ms", sa.BigInteger, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("ix_artwork_order_artwork_id", "artwork_order", ["artwork_id"])
    op.create_index("ix_artwork_order_due_ms", "artwork_order", ["due_ms"])
    op.create_index("ix_artwork_order_task_id", "artwork_order", ["task_id"])
    op.create_index("ix_artwork_order_user_id", "artwork_order", ["user_id"])


def create_reactions() -> None:
    op.create_table(
        "artwork_like",
        sa.Column("user_id", sa.String, sa.ForeignKey("person.id"), primary_key=True),
        sa.Column("artwork_id", sa.String, sa.ForeignKey("artwork.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("artwork_like_by_artwork", "artwork_like", ["artwork_id"])
    op.create_index("artwork_like_by_time", "artwork_like", ["user_id", "create_ms", "artwork_id"])
    op.create_table(
        "artwork_favorite",
        sa.Column("user_id", sa.String, sa.ForeignKey("person.id"), primary_key=True),
        sa.Column("artwork_id", sa.String, sa.ForeignKey("artwork.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("artwork_favorite_by_artwork", "artwork_favorite", ["artwork_id"])
    op.create_index("artwork_favorite_by_time", "artwork_favorite", ["user_id", "create_ms", "artwork_id"])


def create_words() -> None:
    op.create_table(
        "budget",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("action", sa.String(16), primary_key=True),
        sa.Column("hour", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_table(
        "report",
        sa.Column("artwork_id", sa.String, sa.ForeignKey("artwork.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("report_by_time", "report", ["create_ms", "artwork_id", "user_id"])
    op.create_index("report_by_user", "report", ["user_id"])


def create_objects() -> None:
    op.create_table(
        "owned_object",
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
    )
    op.create_index("ix_owned_object_user_id", "owned_object", ["user_id"])
    op.create_table(
        "discarded_object",
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("erasure_id", sa.String, nullable=False),
        sa.Column("due_ms", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("ix_discarded_object_due_ms", "discarded_object", ["due_ms"])
    op.create_index("ix_discarded_object_erasure_id", "discarded_object", ["erasure_id"])
    op.create_table(
        "erasure",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("artwork_count", sa.BigInteger, nullable=False),
        sa.Column("like_count", sa.BigInteger, nullable=False),
        sa.Column("favorite_count", sa.BigInteger, nullable=False),
        sa.Column("object_count", sa.BigInteger, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
    )


def create_ledger() -> None:
    op.create_table(
        "account",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("credits", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "entry",
        sa.Column("sequence", sequence, sa.Identity(), primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("user_id", "kind", "cause", name="entry_cause"),
    )
    op.create_table(
        "check_in",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("streak", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
    )
    op.create_table(
        "event_cursor",
        sa.Column("id", sa.SmallInteger, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
