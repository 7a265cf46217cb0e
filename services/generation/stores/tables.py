"""The tables of generation's own schema. Times are milliseconds since 1970 by the database's clock."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from services.chassis.parking import work_fault_table

metadata = MetaData()
Sequence = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts by itself only for INTEGER

generation = Table(
    "generation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_key", Text, unique=True),
    Column("request_hash", Text, nullable=False),
    Column("sent_hash", Text, nullable=False, default="", server_default=""),
    Column("model", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("draft", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("fence", BigInteger, nullable=False, default=0),
    Column("lease_until_ms", BigInteger, nullable=False, default=0),
    Column("due_ms", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False, default=0),
    Column("attempt_id", Text, nullable=False, default=""),
    Column("task_id", Text, nullable=False, default=""),
    Column("progress", BigInteger, nullable=False, default=0),
    Column("reason", Text, nullable=False, default=""),
    Column("message", Text, nullable=False, default=""),
    Column("provider_code", BigInteger, nullable=False, default=0),
    Column("create_ms", BigInteger, nullable=False),
    Column("update_ms", BigInteger, nullable=False),
    Column("ready_ms", BigInteger, nullable=False),
    Column("submit_ms", BigInteger, nullable=False, default=0),
    Column("store_ms", BigInteger, nullable=False, default=0),
    Column("complete_ms", BigInteger, nullable=False, default=0),
    Index("generation_due", "state", "due_ms"),
    Index("generation_newest", "create_ms", "id"),
    Index("generation_task", "task_id"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", Text, primary_key=True),
    Column("generation_id", Text, ForeignKey("generation.id"), nullable=False),
    Column("account", Text, nullable=False),
    Column("key_print", Text, nullable=False),
    Column("token_digest", Text, nullable=False),
    Column("task_id", Text),
    Column("outcome", Text, nullable=False, default=""),
    Column("detail", Text, nullable=False, default=""),
    Column("create_ms", BigInteger, nullable=False),
    Column("answer_ms", BigInteger, nullable=False, default=0),
    Column("code", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("account", "task_id", name="attempt_task"),
    Index("attempt_generation", "generation_id"),
    Index("attempt_by_task", "task_id"),
)

output = Table(
    "output",
    metadata,
    Column("generation_id", Text, ForeignKey("generation.id"), primary_key=True),
    Column("idx", Integer, primary_key=True),
    Column("source_uri", Text, nullable=False),
    Column("key", Text, nullable=False, default=""),
    Column("content_type", Text, nullable=False, default=""),
    Column("size", BigInteger, nullable=False, default=0),
    Column("error", Text, nullable=False, default=""),
    Column("lost", Boolean, nullable=False, default=False),
    Column("gone_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("file_stem", Text, nullable=False, server_default=""),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("attempt_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("code", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False, default=""),
    Column("tries", BigInteger, nullable=False, default=0),
    Column("due_ms", BigInteger, nullable=False),
    Column("create_ms", BigInteger, nullable=False),
    Column("news", BigInteger, nullable=False, default=0, server_default="0"),
    UniqueConstraint("attempt_id", "task_id", "code", name="inbox_once"),
    Index("inbox_due", "verdict", "due_ms"),
    Index("inbox_age", "create_ms"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("generation_id", Text, ForeignKey("generation.id"), nullable=False),
    Column("snapshot", Text, nullable=False),
    Column("create_ms", BigInteger, nullable=False),
    Index("outbox_generation", "generation_id"),
    sqlite_autoincrement=True,  # a sequence is never given twice, even after rows were removed
)

pruned = Table(  # up to which sequence the outbox was pruned; one row, named like it
    "pruned",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("through", BigInteger, nullable=False),
)

# The key pool. A key is named by its print; its value is in no row.
provider_account = Table(
    "provider_account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("cause_code", BigInteger, nullable=False, default=0),
    Column("rest_until_ms", BigInteger, nullable=False, default=0),
    Column("credits", Double, nullable=False, default=0.0),
    Column("credits_ms", BigInteger, nullable=False, default=0),
    Column("asked_ms", BigInteger, nullable=False, default=0),
)

provider_key = Table(
    "provider_key",
    metadata,
    Column("print", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("cause_code", BigInteger, nullable=False, default=0),
    Column("rest_until_ms", BigInteger, nullable=False, default=0),
    Column("strikes", BigInteger, nullable=False, default=0),
)

model_rest = Table(
    "model_rest",
    metadata,
    Column("model", Text, primary_key=True),
    Column("cause_code", BigInteger, nullable=False, default=0),
    Column("rest_until_ms", BigInteger, nullable=False, default=0),
)

unpaid_model = Table(  # an account whose balance did not suffice for a model, although it holds something
    "unpaid_model",
    metadata,
    Column("account", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("strikes", BigInteger, nullable=False),
    Column("rest_until_ms", BigInteger, nullable=False),
)

quota_use = Table(  # orders that each caller placed on a day; days that are over are deleted
    "quota_use",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, primary_key=True),
    Column("used", BigInteger, nullable=False),
)

work_fault = work_fault_table(metadata)  # work that failed with an unexpected exception, and what is parked of it

create_mark = Table(  # one for each create that its account's bucket still counts, by the attempt's id
    "create_mark",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
