"""The rows of objects, announcements, tombstones and upload links in SQL, on SQLite and PostgreSQL alike."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from services.chassis import failpoints
from services.chassis.agreements import agreement_table
from services.chassis.database import Transaction, db_now, upsert
from services.chassis.errors import Unavailable
from services.chassis.idempotency import answers_table
from services.chassis.sole_lease import lease_table
from services.storage.model import (
    THUMBNAILS,
    Cursor,
    Filter,
    MissingThumb,
    Source,
    Stat,
    StoredObject,
    UploadLink,
    import_alias,
)

METADATA = MetaData()
REQUEST_ANSWER = answers_table(METADATA)
AGREEMENT = agreement_table(METADATA)
KEY = String(512, collation="C").with_variant(String(512), "sqlite")
OBJECTS = Table(
    "object",
    METADATA,
    Column("key", KEY, primary_key=True),
    Column("content_type", Text),
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Column("source", Text),
    Column("generation_id", Text),
    Column("idx", Integer),
    Column("original_name", Text),
    Column("source_uri", Text),
    Column("create_ms", BigInteger),
    Column("width", Integer),
    Column("height", Integer),
    Column("thumb_hash", Text),
    Column("import_digest", String(64)),
)
LINKS = Table(
    "upload_link",
    METADATA,
    Column("key", KEY, primary_key=True),
    Column("content_type", Text),
    Column("size", BigInteger),
    Column("original_name", Text),
    Column("expire_ms", BigInteger),
)
ANNOUNCED = Table(
    "announced",
    METADATA,
    Column("key", KEY, primary_key=True),
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Column("create_ms", BigInteger),
)
TOMBSTONES = Table(
    "tombstone",
    METADATA,
    Column("key", KEY, primary_key=True),
    Column("create_ms", BigInteger),
    Column("swept", Boolean),
)
MISSING_THUMBS = Table(
    "missing_thumb",
    METADATA,
    Column("key", KEY, primary_key=True),
    Column("queue_ms", BigInteger),
    Column("due_ms", BigInteger),
)
SOLE_LEASE = lease_table(METADATA)
ARTWORKS, THUMBS, THUMB_ENDING = "artworks/original/", "artworks/thumb/", ".webp"  # how core.keys pairs them
UUID_LENGTH = 36
FEW = 1000  # rows that are read and sorted in a millisecond or two; of more, the newest come soon in order of time
FIELDS = [column for column in OBJECTS.c if column.name != "import_digest"]  # in StoredObject's order


def import_digest(source_uri: str, alias: str) -> str:
    """A short identity of an import, by its URL and alias: URLs outgrow an index."""
    return sha256(f"{source_uri}\0{alias}".encode()).hexdigest()


def being_deleted() -> Unavailable:
    """The error of a key whose former object is still being deleted."""
    sentence = "The object that had this key is being deleted at this moment. Try again shortly."
    return Unavailable(sentence, "OBJECT_BEING_DELETED", retry_after=1)


def _digest_of(new: StoredObject) -> str | None:
    imported = new.source_uri and new.index is None
    return import_digest(new.source_uri, import_alias(new.original_name, new.generation_id or "")) if imported else None


def _same(new: StoredObject) -> Select[tuple[object, ...]]:
    """The row with one of the new row's identities, NULLs left out."""
    clauses = [OBJECTS.c.key == new.key]
    if digest := _digest_of(new):
        clauses.append(OBJECTS.c.import_digest == digest)
    if new.index is not None:
        clauses.append(_picture(new.generation_id, new.index))
    return select(*FIELDS).where(or_(*clauses)).limit(1)


def _picture(generation_id: str | None, index: int) -> ColumnElement[bool]:
    return and_(OBJECTS.c.generation_id == generation_id, OBJECTS.c.idx == index)


def _matches(wanted: Filter, key: ColumnElement[str] = OBJECTS.c.key) -> list[ColumnElement[bool]]:
    """The conditions of a filter. With a key that is no bare column the planner does not sort a whole prefix."""
    clauses: list[ColumnElement[bool]] = []
    if wanted.prefix:
        after = wanted.prefix[:-1] + chr(ord(wanted.prefix[-1]) + 1)
        clauses += [key >= wanted.prefix, key < after]
    if wanted.generation_id:
        clauses.append(OBJECTS.c.generation_id == wanted.generation_id)
    return clauses


# Without thumbnails, which are not made again when a client wants them.
VARIANT = (OBJECTS.c.source == Source.VARIANT, *_matches(Filter("variants/"), OBJECTS.c.key + ""))


THUMB_DUE = MISSING_THUMBS.c.due_ms <= db_now()


class SqlObjects:
    """The ObjectStore in SQL."""

    def add(self, transaction: Transaction, new: StoredObject) -> StoredObject:
        """Insert the row, or return the one that has one of its identities."""
        dying = select(TOMBSTONES.c.key).where(TOMBSTONES.c.key == new.key, ~TOMBSTONES.c.swept)
        values = {column.name: value for column, value in zip(FIELDS, _row(new), strict=True)}
        values |= {"create_ms": new.create_ms or db_now(), "import_digest": _digest_of(new)}
        if transaction.execute(dying).one_or_none():
            raise being_deleted()
        transaction.execute(delete(TOMBSTONES).where(TOMBSTONES.c.key == new.key))
        transaction.execute(delete(ANNOUNCED).where(ANNOUNCED.c.key == new.key))
        statement = upsert(transaction, OBJECTS).values(values).on_conflict_do_nothing()
        row = transaction.execute(statement.returning(*FIELDS)).one_or_none()
        if row and not new.create_ms:
            self.queue_thumbs(transaction, [new.key])
        kept = StoredObject(*(row or transaction.execute(_same(new)).one()))
        failpoints.reach_in_thread("row.before_commit")
        return kept

    def get(self, transaction: Transaction, key: str) -> StoredObject | None:
        """Select a row by its key."""
        return _find(transaction, OBJECTS.c.key == key)

    def of_generation(self, transaction: Transaction, generation_id: str, index: int) -> StoredObject | None:
        """Select a row by generation and index."""
        return _find(transaction, _picture(generation_id, index))

    def of_source(self, transaction: Transaction, source_uri: str, alias: str) -> StoredObject | None:
        """Select a row by its import digest."""
        return _find(transaction, OBJECTS.c.import_digest == import_digest(source_uri, alias))

    def list(
        self, transaction: Transaction, wanted: Filter, before: Cursor | None, limit: int
    ) -> tuple[StoredObject, ...]:
        """Select a page by keyset: by the index of keys where few match, by the index of times where many do."""
        few = select(OBJECTS.c.key).where(*_matches(wanted)).limit(FEW).subquery()
        is_few = (transaction.scalar(select(func.count()).select_from(few)) or 0) < FEW
        clauses = _matches(wanted, OBJECTS.c.key if is_few else OBJECTS.c.key + "")
        if before:
            clauses.append(tuple_(OBJECTS.c.create_ms, OBJECTS.c.key) < (before.create_ms, before.key))
        newest = select(*FIELDS).where(*clauses).order_by(OBJECTS.c.create_ms.desc(), OBJECTS.c.key.desc())
        return _objects(transaction, newest.limit(limit))

    def without_thumb(self, transaction: Transaction, since_ms: int, limit: int) -> tuple[str, ...]:
        """Select artworks for whose UUID there is no thumbnail."""
        thumbs = OBJECTS.alias()
        uuid = func.substr(OBJECTS.c.key, len(ARTWORKS) + 1, UUID_LENGTH)
        made = select(thumbs.c.key).where(thumbs.c.key == literal(THUMBS) + uuid + THUMB_ENDING)
        queued = select(MISSING_THUMBS.c.key).where(MISSING_THUMBS.c.key == OBJECTS.c.key)
        wanted = [*_matches(Filter(ARTWORKS)), OBJECTS.c.create_ms >= since_ms, ~made.exists(), ~queued.exists()]
        newest = select(OBJECTS.c.key).where(*wanted).order_by(OBJECTS.c.create_ms.desc()).limit(limit)
        return tuple(transaction.scalars(newest))

    def queue_thumbs(self, transaction: Transaction, keys: Sequence[str]) -> None:
        """Insert the keys and wake the loops."""
        if rows := [{"key": key, "queue_ms": db_now(), "due_ms": db_now()} for key in keys if key.startswith(ARTWORKS)]:
            transaction.execute(upsert(transaction, MISSING_THUMBS).values(rows).on_conflict_do_nothing())
            transaction.notify(THUMBNAILS)

    def any_thumb_due(self, transaction: Transaction) -> bool:
        """Select one."""
        return transaction.scalar(select(MISSING_THUMBS.c.key).where(THUMB_DUE).limit(1)) is not None

    def claim_thumbs(self, transaction: Transaction, limit: int, lease_seconds: float) -> Sequence[MissingThumb]:
        """Claim in one statement, skipping rows that another transaction is claiming."""
        oldest = select(MISSING_THUMBS.c.key).where(THUMB_DUE).order_by(MISSING_THUMBS.c.due_ms).limit(limit)
        claimed = MISSING_THUMBS.c.key.in_(oldest.with_for_update(skip_locked=True).scalar_subquery())
        statement = update(MISSING_THUMBS).where(claimed).values(due_ms=db_now() + int(lease_seconds * 1000))
        returned = statement.returning(MISSING_THUMBS.c.key, MISSING_THUMBS.c.queue_ms)
        return [MissingThumb(*row) for row in transaction.execute(returned)]

    def postpone_thumb(self, transaction: Transaction, key: str, seconds: float) -> None:
        """Update the due time."""
        later = {"due_ms": db_now() + int(seconds * 1000)}
        transaction.execute(update(MISSING_THUMBS).where(MISSING_THUMBS.c.key == key).values(later))

    def end_thumb(self, transaction: Transaction, key: str) -> None:
        """Delete the row."""
        transaction.execute(delete(MISSING_THUMBS).where(MISSING_THUMBS.c.key == key))

    def by_key(self, transaction: Transaction, prefix: str, after: str, limit: int) -> tuple[StoredObject, ...]:
        """Select a range of the index of keys."""
        wanted = select(*FIELDS).where(*_matches(Filter(prefix)), OBJECTS.c.key > after)
        return _objects(transaction, wanted.order_by(OBJECTS.c.key).limit(limit))

    def variant_bytes(self, transaction: Transaction) -> int:
        """Add up the sizes, which an index holds."""
        return int(transaction.scalar(select(func.sum(OBJECTS.c.size)).where(*VARIANT)) or 0)

    def oldest_variants(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[StoredObject, ...]:
        """Select variants by their age."""
        wanted = select(*FIELDS).where(*VARIANT, OBJECTS.c.create_ms < before_ms)
        return _objects(transaction, wanted.order_by(OBJECTS.c.create_ms, OBJECTS.c.key).limit(limit))

    def totals(self, transaction: Transaction) -> tuple[int, int]:
        """Count the rows and add up their sizes."""
        row = transaction.execute(select(func.count(), func.sum(OBJECTS.c.size)).select_from(OBJECTS)).one()
        return int(row[0]), int(row[1] or 0)

    def correct(self, transaction: Transaction, key: str, stat: Stat) -> StoredObject | None:
        """Update size and hash."""
        statement = update(OBJECTS).where(OBJECTS.c.key == key).values(size=stat.size, sha256=stat.sha256)
        row = transaction.execute(statement.returning(*FIELDS)).one_or_none()
        return StoredObject(*row) if row else None

    def delete(self, transaction: Transaction, key: str) -> None:
        """Delete a row."""
        transaction.execute(delete(OBJECTS).where(OBJECTS.c.key == key))

    def announce(self, transaction: Transaction, key: str, stat: Stat) -> None:
        """Insert the announcement, or replace an older one."""
        values = {"key": key, "size": stat.size, "sha256": stat.sha256, "create_ms": db_now()}
        statement = upsert(transaction, ANNOUNCED).values(values)
        fields = {name: statement.excluded[name] for name in ("size", "sha256", "create_ms")}
        transaction.execute(statement.on_conflict_do_update(index_elements=["key"], set_=fields))

    def announced(self, transaction: Transaction, key: str) -> Stat | None:
        """Select an announcement."""
        wanted = select(ANNOUNCED.c.size, ANNOUNCED.c.sha256).where(ANNOUNCED.c.key == key)
        row = transaction.execute(wanted).one_or_none()
        return Stat(*row) if row else None

    def withdraw(self, transaction: Transaction, key: str) -> None:
        """Delete an announcement."""
        transaction.execute(delete(ANNOUNCED).where(ANNOUNCED.c.key == key))

    def begin_deletion(self, transaction: Transaction, key: str) -> bool:
        """Replace the row by a tombstone, or find that of an unfinished deletion."""
        values = {"key": key, "create_ms": db_now(), "swept": False}
        removed = delete(OBJECTS).where(OBJECTS.c.key == key).returning(OBJECTS.c.key)
        dying = select(TOMBSTONES.c.key).where(TOMBSTONES.c.key == key, ~TOMBSTONES.c.swept)
        if not transaction.execute(removed).one_or_none():
            return transaction.execute(dying).one_or_none() is not None
        statement = upsert(transaction, TOMBSTONES).values(values)
        fields = {name: statement.excluded[name] for name in ("create_ms", "swept")}
        transaction.execute(statement.on_conflict_do_update(index_elements=["key"], set_=fields))
        return True

    def end_deletion(self, transaction: Transaction, key: str) -> None:
        """Mark the tombstone as swept."""
        transaction.execute(update(TOMBSTONES).where(TOMBSTONES.c.key == key).values(swept=True))

    def due_tombstones(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[str, ...]:
        """Select the oldest and mark them as unswept, which locks their keys."""
        old = select(TOMBSTONES.c.key).where(or_(TOMBSTONES.c.create_ms < before_ms, ~TOMBSTONES.c.swept))
        keys = tuple(transaction.scalars(old.order_by(TOMBSTONES.c.create_ms).limit(limit)))
        transaction.execute(update(TOMBSTONES).where(TOMBSTONES.c.key.in_(keys)).values(swept=False))
        return keys

    def remove_tombstone(self, transaction: Transaction, key: str) -> None:
        """Delete a tombstone."""
        transaction.execute(delete(TOMBSTONES).where(TOMBSTONES.c.key == key))

    def add_link(self, transaction: Transaction, link: UploadLink) -> None:
        """Insert a link."""
        transaction.execute(insert(LINKS).values(vars(link)))

    def get_link(self, transaction: Transaction, key: str) -> UploadLink | None:
        """Select a link by the key of its file."""
        row = transaction.execute(select(LINKS).where(LINKS.c.key == key)).one_or_none()
        return UploadLink(*row) if row else None

    def expired_links(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[str, ...]:
        """Select the links that expired first."""
        oldest = select(LINKS.c.key).where(LINKS.c.expire_ms < before_ms).order_by(LINKS.c.expire_ms).limit(limit)
        return tuple(transaction.scalars(oldest))

    def delete_link(self, transaction: Transaction, key: str) -> None:
        """Delete a link."""
        transaction.execute(delete(LINKS).where(LINKS.c.key == key))


def _find(transaction: Transaction, clause: ColumnElement[bool]) -> StoredObject | None:
    row = transaction.execute(select(*FIELDS).where(clause)).one_or_none()
    return StoredObject(*row) if row else None


def _objects(transaction: Transaction, statement: Select[*tuple[Any, ...]]) -> tuple[StoredObject, ...]:
    return tuple(StoredObject(*row) for row in transaction.execute(statement))


def _row(new: StoredObject) -> tuple[object, ...]:
    return tuple(vars(new).values())
