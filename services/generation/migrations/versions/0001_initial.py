"""The first schema: generations, attempts, outputs, the inbox, the outbox and the key pool."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def text(name: str, **options: object) -> sa.Column[str]:
    """A text column that is never null."""
    return sa.Column(name, sa.Text, nullable=False, **options)  # type: ignore[arg-type] # op's own options


def number(name: str, **options: object) -> sa.Column[int]:
    """A 64-bit column that is never null."""
    return sa.Column(name, sa.BigInteger, nullable=False, **options)  # type: ignore[arg-type] # as above


def upgrade() -> None:
    """Create the tables."""
    create_generation()
    create_attempt()
    create_output()
    create_inbox()
    create_outbox()
    create_pool()


def create_generation() -> None:
    """Orders and where they stand."""
    op.create_table(
        "generation",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("request_key", sa.Text, unique=True),
        *(text(name) for name in ("request_hash", "model", "family", "draft", "state")),
        *(number(name) for name in ("fence", "lease_until_ms", "due_ms", "tries")),
        *(text(name) for name in ("attempt_id", "task_id")),
        number("progress"),
        *(text(name) for name in ("reason", "message")),
        *(
            number(name)
            for name in ("provider_code", "create_ms", "update_ms", "ready_ms", "submit_ms", "store_ms", "complete_ms")
        ),
    )
    op.create_index("generation_due", "generation", ["state", "due_ms"])
    op.create_index("generation_newest", "generation", ["create_ms", "id"])
    op.create_index("generation_task", "generation", ["task_id"])


def create_attempt() -> None:
    """Tries to have a generation made."""
    op.create_table(
        "attempt",
        sa.Column("id", sa.Text, primary_key=True),
        text("generation_id"),
        *(text(name) for name in ("account", "key_print", "token_digest")),
        sa.Column("task_id", sa.Text),
        *(text(name) for name in ("outcome", "detail")),
        *(number(name) for name in ("create_ms", "answer_ms")),
        sa.ForeignKeyConstraint(["generation_id"], ["generation.id"]),
        sa.UniqueConstraint("account", "task_id", name="attempt_task"),
    )
    op.create_index("attempt_generation", "attempt", ["generation_id"])
    op.create_index("attempt_by_task", "attempt", ["task_id"])


def create_output() -> None:
    """Pictures of generations."""
    op.create_table(
        "output",
        sa.Column("generation_id", sa.Text, primary_key=True),
        sa.Column("idx", sa.Integer, primary_key=True),
        *(text(name) for name in ("source_uri", "key", "content_type")),
        number("size"),
        text("error"),
        sa.Column("lost", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["generation_id"], ["generation.id"]),
    )


def create_inbox() -> None:
    """Webhooks that were verified and kept."""
    op.create_table(
        "inbox",
        sa.Column("id", sa.Text, primary_key=True),
        *(text(name) for name in ("kind", "attempt_id", "task_id")),
        number("code"),
        text("verdict"),
        *(number(name) for name in ("tries", "due_ms", "create_ms")),
        sa.UniqueConstraint("attempt_id", "task_id", "code", name="inbox_once"),
    )
    op.create_index("inbox_due", "inbox", ["verdict", "due_ms"])


def create_outbox() -> None:
    """Events, in commit order."""
    op.create_table(
        "outbox",
        sa.Column("sequence", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        *(text(name) for name in ("generation_id", "snapshot")),
        number("create_ms"),
        sa.ForeignKeyConstraint(["generation_id"], ["generation.id"]),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_generation", "outbox", ["generation_id"])


def create_pool() -> None:
    """The provider's accounts and keys, the models it has switched off, and the creates that are being counted."""
    op.create_table(
        "provider_account",
        sa.Column("name", sa.Text, primary_key=True),
        *(number(name) for name in ("cause_code", "rest_until_ms")),
        sa.Column("credits", sa.Double, nullable=False),
        *(number(name) for name in ("credits_ms", "asked_ms")),
    )
    op.create_table(
        "provider_key",
        sa.Column("print", sa.Text, primary_key=True),
        text("account"),
        number("position"),
        sa.Column("disabled", sa.Boolean, nullable=False),
        *(number(name) for name in ("cause_code", "rest_until_ms", "strikes")),
    )
    op.create_table(
        "model_rest",
        sa.Column("model", sa.Text, primary_key=True),
        *(number(name) for name in ("cause_code", "rest_until_ms")),
    )
    op.create_table("create_mark", sa.Column("attempt_id", sa.Text, primary_key=True), text("account"), number("at_ms"))
