"""The rows of objects, announcements, tombstones and upload links in SQL, on SQLite and PostgreSQL alike."""

from hashlib import sha256

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Delete,
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
from services.chassis.database import Database, db_now, shielded, upsert
from services.chassis.errors import Unavailable
from services.chassis.idempotency import answers_table
from services.storage.model import Cursor, Filter, Source, Stat, StoredObject, UploadLink, import_alias

METADATA = MetaData()
REQUEST_ANSWER = answers_table(METADATA)
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


@shielded
class SqlObjects:
    """The ObjectStore on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: StoredObject) -> StoredObject:
        """Insert the row, or return the one that has one of its identities."""
        dying = select(TOMBSTONES.c.key).where(TOMBSTONES.c.key == new.key, ~TOMBSTONES.c.swept)
        values = {column.name: value for column, value in zip(FIELDS, _row(new), strict=True)}
        values |= {"create_ms": new.create_ms or db_now(), "import_digest": _digest_of(new)}
        async with self._database.write() as connection:
            if (await connection.execute(dying)).one_or_none():
                raise being_deleted()
            await connection.execute(delete(TOMBSTONES).where(TOMBSTONES.c.key == new.key))
            await connection.execute(delete(ANNOUNCED).where(ANNOUNCED.c.key == new.key))
            statement = upsert(connection, OBJECTS).values(values).on_conflict_do_nothing()
            row = (await connection.execute(statement.returning(*FIELDS))).one_or_none()
            kept = StoredObject(*(row or (await connection.execute(_same(new))).one()))
            await failpoints.reach("row.before_commit")
        await failpoints.reach("row.after_commit")
        return kept

    async def get(self, key: str) -> StoredObject | None:
        """Select a row by its key."""
        return await self._find(OBJECTS.c.key == key)

    async def of_generation(self, generation_id: str, index: int) -> StoredObject | None:
        """Select a row by generation and index."""
        return await self._find(_picture(generation_id, index))

    async def of_source(self, source_uri: str, alias: str) -> StoredObject | None:
        """Select a row by its import digest."""
        return await self._find(OBJECTS.c.import_digest == import_digest(source_uri, alias))

    async def list(self, wanted: Filter, before: Cursor | None, limit: int) -> tuple[StoredObject, ...]:
        """Select a page by keyset: by the index of keys where few match, by the index of times where many do."""
        async with self._database.read() as connection:
            few = select(OBJECTS.c.key).where(*_matches(wanted)).limit(FEW).subquery()
            is_few = (await connection.scalar(select(func.count()).select_from(few)) or 0) < FEW
            clauses = _matches(wanted, OBJECTS.c.key if is_few else OBJECTS.c.key + "")
            if before:
                clauses.append(tuple_(OBJECTS.c.create_ms, OBJECTS.c.key) < (before.create_ms, before.key))
            newest = select(*FIELDS).where(*clauses).order_by(OBJECTS.c.create_ms.desc(), OBJECTS.c.key.desc())
            return tuple(StoredObject(*row) for row in await connection.execute(newest.limit(limit)))

    async def without_thumb(self, since_ms: int, limit: int) -> tuple[str, ...]:
        """Select artworks for whose UUID there is no thumbnail."""
        thumbs = OBJECTS.alias()
        uuid = func.substr(OBJECTS.c.key, len(ARTWORKS) + 1, UUID_LENGTH)
        made = select(thumbs.c.key).where(thumbs.c.key == literal(THUMBS) + uuid + THUMB_ENDING)
        wanted = [*_matches(Filter(ARTWORKS)), OBJECTS.c.create_ms >= since_ms, ~made.exists()]
        newest = select(OBJECTS.c.key).where(*wanted).order_by(OBJECTS.c.create_ms.desc()).limit(limit)
        async with self._database.read() as connection:
            return tuple((await connection.execute(newest)).scalars())

    async def by_key(self, prefix: str, after: str, limit: int) -> tuple[StoredObject, ...]:
        """Select a range of the index of keys."""
        wanted = select(*FIELDS).where(*_matches(Filter(prefix)), OBJECTS.c.key > after)
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(OBJECTS.c.key).limit(limit))
            return tuple(StoredObject(*row) for row in rows)

    async def variant_bytes(self) -> int:
        """Add up the sizes, which an index holds."""
        async with self._database.read() as connection:
            return int(await connection.scalar(select(func.sum(OBJECTS.c.size)).where(*VARIANT)) or 0)

    async def oldest_variants(self, before_ms: int, limit: int) -> tuple[StoredObject, ...]:
        """Select variants by their age."""
        wanted = select(*FIELDS).where(*VARIANT, OBJECTS.c.create_ms < before_ms)
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(OBJECTS.c.create_ms, OBJECTS.c.key).limit(limit))
            return tuple(StoredObject(*row) for row in rows)

    async def totals(self) -> tuple[int, int]:
        """Count the rows and add up their sizes."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(func.count(), func.sum(OBJECTS.c.size)).select_from(OBJECTS))).one()
        return int(row[0]), int(row[1] or 0)

    async def correct(self, key: str, stat: Stat) -> StoredObject | None:
        """Update size and hash."""
        statement = update(OBJECTS).where(OBJECTS.c.key == key).values(size=stat.size, sha256=stat.sha256)
        async with self._database.write() as connection:
            row = (await connection.execute(statement.returning(*FIELDS))).one_or_none()
        return StoredObject(*row) if row else None

    async def delete(self, key: str) -> None:
        """Delete a row."""
        await self._delete(delete(OBJECTS).where(OBJECTS.c.key == key))

    async def announce(self, key: str, stat: Stat) -> None:
        """Insert the announcement, or replace an older one."""
        values = {"key": key, "size": stat.size, "sha256": stat.sha256, "create_ms": db_now()}
        async with self._database.write() as connection:
            statement = upsert(connection, ANNOUNCED).values(values)
            fields = {name: statement.excluded[name] for name in ("size", "sha256", "create_ms")}
            await connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=fields))

    async def announced(self, key: str) -> Stat | None:
        """Select an announcement."""
        wanted = select(ANNOUNCED.c.size, ANNOUNCED.c.sha256).where(ANNOUNCED.c.key == key)
        async with self._database.read() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return Stat(*row) if row else None

    async def withdraw(self, key: str) -> None:
        """Delete an announcement."""
        await self._delete(delete(ANNOUNCED).where(ANNOUNCED.c.key == key))

    async def begin_deletion(self, key: str) -> bool:
        """Replace the row by a tombstone, or find that of an unfinished deletion."""
        values = {"key": key, "create_ms": db_now(), "swept": False}
        removed = delete(OBJECTS).where(OBJECTS.c.key == key).returning(OBJECTS.c.key)
        dying = select(TOMBSTONES.c.key).where(TOMBSTONES.c.key == key, ~TOMBSTONES.c.swept)
        async with self._database.write() as connection:
            if not (await connection.execute(removed)).one_or_none():
                return (await connection.execute(dying)).one_or_none() is not None
            statement = upsert(connection, TOMBSTONES).values(values)
            fields = {name: statement.excluded[name] for name in ("create_ms", "swept")}
            await connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=fields))
        return True

    async def end_deletion(self, key: str) -> None:
        """Mark the tombstone as swept."""
        async with self._database.write() as connection:
            await connection.execute(update(TOMBSTONES).where(TOMBSTONES.c.key == key).values(swept=True))

    async def due_tombstones(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Select the oldest and mark them as unswept, which locks their keys."""
        old = select(TOMBSTONES.c.key).where(or_(TOMBSTONES.c.create_ms < before_ms, ~TOMBSTONES.c.swept))
        oldest = old.order_by(TOMBSTONES.c.create_ms).limit(limit)
        async with self._database.write() as connection:
            keys = tuple((await connection.execute(oldest)).scalars())
            await connection.execute(update(TOMBSTONES).where(TOMBSTONES.c.key.in_(keys)).values(swept=False))
        return keys

    async def remove_tombstone(self, key: str) -> None:
        """Delete a tombstone."""
        await self._delete(delete(TOMBSTONES).where(TOMBSTONES.c.key == key))

    async def add_link(self, link: UploadLink) -> None:
        """Insert a link."""
        async with self._database.write() as connection:
            await connection.execute(insert(LINKS).values(vars(link)))

    async def get_link(self, key: str) -> UploadLink | None:
        """Select a link by the key of its file."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(LINKS).where(LINKS.c.key == key))).one_or_none()
        return UploadLink(*row) if row else None

    async def expired_links(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Select the links that expired first."""
        oldest = select(LINKS.c.key).where(LINKS.c.expire_ms < before_ms).order_by(LINKS.c.expire_ms).limit(limit)
        async with self._database.read() as connection:
            return tuple((await connection.execute(oldest)).scalars())

    async def delete_link(self, key: str) -> None:
        """Delete a link."""
        await self._delete(delete(LINKS).where(LINKS.c.key == key))

    async def _find(self, clause: ColumnElement[bool]) -> StoredObject | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(*FIELDS).where(clause))).one_or_none()
        return StoredObject(*row) if row else None

    async def _delete(self, statement: Delete) -> None:
        async with self._database.write() as connection:
            await connection.execute(statement)


def _row(new: StoredObject) -> tuple[object, ...]:
    return tuple(vars(new).values())
