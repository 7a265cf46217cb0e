"""The tables of the share service, whose indexes make every list page one short range scan per visibility."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    false,
)

from services.chassis.idempotency import answers_table

metadata = MetaData()
Sequence = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself on SQLite

share = Table(
    "share",
    metadata,
    Column("sequence", Sequence, Identity(), primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("generated_digest", String(64), nullable=False, unique=True),  # a URL may be too long for an index entry
    Column("generated_ref", Text, nullable=False),
    Column("original_ref", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("style", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("generate_ms", BigInteger, nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("seo_tags", Text, nullable=False),  # JSON
    Column("seo", Text, nullable=False),  # JSON
    Column("visibility", SmallInteger, nullable=False),
    Column("publish_ms", BigInteger, nullable=False),
    Column("create_ms", BigInteger, nullable=False),
    Column("token_digest", String(64), nullable=False),
    Column("unlisted", Boolean, nullable=False, server_default=false()),
    Index("share_by_visibility", "visibility", "sequence"),
    Index("share_by_style", "style", "visibility", "sequence"),
    Index("share_by_model", "model", "visibility", "sequence"),
    Index("share_by_generate_ms", "visibility", "generate_ms", "sequence"),
    Index("share_by_create_ms", "create_ms"),
)

share_tag = Table(
    "share_tag",
    metadata,
    Column("sequence", Sequence, ForeignKey("share.sequence", ondelete="CASCADE"), primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("visibility", SmallInteger, nullable=False),  # the share's, so that one index answers
    Index("share_tag_by_tag", "tag", "visibility", "sequence"),
)

request_answer = answers_table(metadata)

share_count = Table(
    "share_count",
    metadata,
    Column("facet", String(8), primary_key=True),
    Column("value", Text, primary_key=True),
    Column("visibility", SmallInteger, primary_key=True, autoincrement=False),
    Column("part", SmallInteger, primary_key=True, autoincrement=False),  # counts.py
    Column("count", BigInteger, nullable=False),
)
