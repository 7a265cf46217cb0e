"""The tables of the community, whose indexes make every page one short range scan."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from services.chassis.agreements import agreement_table
from services.chassis.idempotency import answers_table
from services.chassis.parking import work_fault_table
from services.chassis.sole_lease import lease_table

metadata = MetaData()
Sequence = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself on SQLite

person = Table(
    "person",
    metadata,
    Column("id", String, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("picture_uri", Text, nullable=False),
    Column("hide_name", Boolean, nullable=False),
    Column("hide_email", Boolean, nullable=False),
    Column("create_ms", BigInteger, nullable=False),
    Column("update_ms", BigInteger, nullable=False),
)

artwork = Table(
    "artwork",
    metadata,
    Column("id", String, primary_key=True),
    Column("user_id", String, ForeignKey("person.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("slug", Text, nullable=False, unique=True),
    Column("object_key", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("aspect_ratio", Text, nullable=False),
    Column("output_format", Text, nullable=False),
    Column("image_refs", Text, nullable=False),  # JSON
    Column("like_count", BigInteger, nullable=False),
    Column("favorite_count", BigInteger, nullable=False),
    Column("hot_score", Float(53), nullable=False),
    Column("hot_due_ms", BigInteger, nullable=False),  # when age changes the score next
    Column("age_class", SmallInteger, nullable=False, server_default="0"),  # hotness.AGES: which windows it lies in
    Column("hidden", String(8), nullable=False),
    Column("listed", Boolean, nullable=False),  # published and shown: what every public list asks for
    Column("order_id", String, nullable=False),
    Column("request_key", Text),
    Column("create_ms", BigInteger, nullable=False),
    Column("update_ms", BigInteger, nullable=False),
    Column("publish_ms", BigInteger, nullable=False),
    UniqueConstraint("user_id", "request_key", name="artwork_request"),
    Index("artwork_by_publish_ms", "listed", "publish_ms", "id"),
    Index("artwork_by_hot_score", "listed", "hot_score", "id"),
    Index("artwork_by_age", "listed", "age_class", "hot_score", "id"),
    Index("artwork_by_owner", "user_id", "create_ms", "id"),
    Index("artwork_by_author", "user_id", "listed", "create_ms", "id"),
    Index("artwork_by_object", "object_key"),
    Index("artwork_by_hot_due_ms", "hot_due_ms"),
)

artwork_order = Table(  # outlives its artwork: a picture may arrive for one that was deleted
    "artwork_order",
    metadata,
    Column("id", String, primary_key=True),
    Column("artwork_id", String, nullable=False, index=True),
    Column("user_id", String, nullable=False, index=True),
    Column("request", Text, nullable=False),  # JSON
    Column("state", String(16), nullable=False),
    Column("generation_id", String, unique=True),
    Column("task_id", String, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("hold", String(16), nullable=False),
    Column("create_ms", BigInteger, nullable=False),
    Column("complete_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False, index=True),  # by the database's clock
    Column("tries", Integer, nullable=False),
    Column("request_key", Text),  # the caller's id of the request; an older version writes none
    Column("request_digest", Text),
    Column("quota_subjects", Text),  # JSON; NULL once generation has answered
    Index("artwork_order_by_request", "user_id", "request_key", unique=True),
)


def reaction_table(name: str) -> Table:
    """One row for each user and artwork, so that nothing can be counted twice."""
    return Table(
        name,
        metadata,
        Column("user_id", String, ForeignKey("person.id"), primary_key=True),
        Column("artwork_id", String, ForeignKey("artwork.id", ondelete="CASCADE"), primary_key=True),
        Column("create_ms", BigInteger, nullable=False),
        Index(f"{name}_by_artwork", "artwork_id"),
        Index(f"{name}_by_time", "user_id", "create_ms", "artwork_id"),
    )


artwork_like = reaction_table("artwork_like")
artwork_favorite = reaction_table("artwork_favorite")

budget = Table(  # actions of a user in this hour
    "budget",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("action", String(16), primary_key=True),
    Column("hour", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
)

report = Table(
    "report",
    metadata,
    Column("artwork_id", String, ForeignKey("artwork.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("create_ms", BigInteger, nullable=False),
    Index("report_by_time", "create_ms", "artwork_id", "user_id"),
    Index("report_by_user", "user_id"),
)

owned_object = Table(  # the owner of an object: the first user to claim it
    "owned_object",
    metadata,
    Column("object_key", String, primary_key=True),
    Column("user_id", String, nullable=False, index=True),
)

discarded_object = Table(  # the deletion queue: what storage is to delete and generation is to forget
    "discarded_object",
    metadata,
    Column("object_key", String, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False, server_default="WAITING"),
    Column("erasure_id", String, nullable=False, index=True),
    Column("due_ms", BigInteger, nullable=False, index=True),  # by the database's clock
    Column("tries", Integer, nullable=False),
)

erasure = Table(
    "erasure",
    metadata,
    Column("id", String, primary_key=True),
    Column("artwork_count", BigInteger, nullable=False),
    Column("like_count", BigInteger, nullable=False),
    Column("favorite_count", BigInteger, nullable=False),
    Column("object_count", BigInteger, nullable=False),
    Column("create_ms", BigInteger, nullable=False),
)

erased_person = Table(  # tombstones of erased users, without name and id
    "erased_person",
    metadata,
    Column("digest", String(64), primary_key=True),  # HMAC-SHA256 of the id
    Column("check_in_day", Integer, nullable=False),  # -1 for none
    Column("erase_ms", BigInteger, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("credits", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
)

entry = Table(  # the ledger; one line for each cause
    "entry",
    metadata,
    Column("sequence", Sequence, Identity(), primary_key=True),
    Column("user_id", String, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("cause", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("create_ms", BigInteger, nullable=False),
    UniqueConstraint("user_id", "kind", "cause", name="entry_cause"),
)

check_in = Table(
    "check_in",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("streak", Integer, nullable=False),
    Column("total", Integer, nullable=False),
)

event_cursor = Table(
    "event_cursor",
    metadata,
    Column("id", SmallInteger, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

work_fault = work_fault_table(metadata)
request_answer = answers_table(metadata)
agreement = agreement_table(metadata)
sole_lease = lease_table(metadata)
