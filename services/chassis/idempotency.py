"""Idempotency keys: keeps the answer to a named request, so that a repetition gets it and has no second effect.

The caller gives the metadata `idempotency-key` and, where it knows it, `idempotency-digest`: what a repetition must
repeat. Orders that cost money do without: their ids lie in the transaction of the order itself.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message
from sqlalchemy import BigInteger, Column, Executable, Index, LargeBinary, MetaData, Table, Text, delete, select, update

from services.chassis.context import DIGEST, KEY, REPLAYED
from services.chassis.database import Database, Transaction, db_now, upsert
from services.chassis.errors import Aborted, AlreadyExists, InvalidArgument

MAX_LENGTH = 400  # of a key and a digest: a route, a SHA-256, and what callers of our own may put before them
KEEP_MS = 86_400_000  # a day, as docs/rest.md#idempotency has it
LEASE_MS = 120_000  # how long a request may be under way before a repetition may begin anew: its process has died
PRUNED_AT_ONCE = 20  # answers that are over, removed by each new one
RETRY_SECONDS = 1.0
M = TypeVar("M", bound=Message)


def answers_table(metadata: MetaData) -> Table:
    """The table of one service; its migration makes the same."""
    return Table(
        "request_answer",
        metadata,
        Column("key", Text, primary_key=True),
        Column("digest", Text, nullable=False),
        Column("answer", LargeBinary),  # NULL while the request is under way
        Column("due_ms", BigInteger, nullable=False),  # when it is forgotten, by the database's clock
        Index("request_answer_by_due_ms", "due_ms"),
    )


@dataclass(frozen=True)
class Kept:
    """An answer that was given, and what was asked."""

    answer: bytes
    digest: str


class IdempotencyKeys:
    """Gives each named request one answer."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database, self._table = database, table

    async def once(self, context: Any, kind: type[M], work: Callable[[], Awaitable[M]]) -> M:
        """The answer of the work, or the one that it gave when the same request came first.

        Raises:
            AlreadyExists: the key was used for another request (reason IDEMPOTENCY_KEY_REUSED).
            Aborted: the first request is still under way (reason IDEMPOTENCY_IN_FLIGHT).
        """
        key, digest = _named(context, kind)
        if not key:
            return await work()
        kept = await self._begin(key, digest)
        if kept is None:
            return await self._done(key, work, lambda: digest)
        return _replayed(context, kind, kept)

    async def once_sent(
        self,
        context: Any,
        kind: type[M],
        chunks: AsyncIterator[bytes],
        work: Callable[[AsyncIterator[bytes]], Awaitable[M]],
    ) -> M:
        """The answer to a request that uploads bytes, which a repetition must repeat. Raises as `once` does."""
        key, _ = _named(context, kind)
        if not key:
            return await work(chunks)
        sent = hashlib.sha256()

        async def hashed() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                sent.update(chunk)
                yield chunk

        kept = await self._begin(key, "")
        if kept is None:
            return await self._done(key, lambda: work(hashed()), sent.hexdigest)
        async for _ in hashed():
            pass
        _require_same(kept.digest, sent.hexdigest())
        return _replayed(context, kind, kept)

    async def _begin(self, key: str, digest: str) -> Kept | None:
        """None when this call is to answer the request; else the kept answer."""
        known = await self._database.write(self._find_or_begin, key, digest)
        if known is None:
            return None
        if known["answer"] is None:
            raise Aborted(
                "The same request is being answered at the moment. Repeat it shortly.",
                "IDEMPOTENCY_IN_FLIGHT",
                retry_after=RETRY_SECONDS,
            )
        _require_same(known["digest"], digest)
        return Kept(known["answer"], known["digest"])

    def _find_or_begin(self, transaction: Transaction, key: str, digest: str) -> dict[str, Any] | None:
        table = self._table
        self._prune(transaction, key)
        row = {"key": key, "digest": digest, "due_ms": db_now() + LEASE_MS}
        if transaction.execute(upsert(transaction, table).values(row).on_conflict_do_nothing()).rowcount:
            return None
        return dict(transaction.execute(select(table).where(table.c.key == key)).mappings().one())

    async def _done(self, key: str, work: Callable[[], Awaitable[M]], digest: Callable[[], str]) -> M:
        table, answered = self._table, False
        mine = table.c.key == key
        try:
            answer = await work()
            values = {"answer": answer.SerializeToString(), "digest": digest(), "due_ms": db_now() + KEEP_MS}
            await self._database.write(_run, update(table).where(mine).values(values))
            answered = True
        finally:
            if not answered:  # a failure is not kept: the request may be made again
                await self._database.write(_run, delete(table).where(mine, table.c.answer.is_(None)))
        return answer

    def _prune(self, transaction: Transaction, key: str) -> None:
        table = self._table
        over = select(table.c.key).where(table.c.due_ms <= db_now()).order_by(table.c.due_ms).limit(PRUNED_AT_ONCE)
        transaction.execute(delete(table).where(table.c.key.in_(over.scalar_subquery())))
        transaction.execute(delete(table).where(table.c.key == key, table.c.due_ms <= db_now()))


def _run(transaction: Transaction, statement: Executable) -> None:
    transaction.execute(statement)


def _named(context: Any, kind: type[Message]) -> tuple[str, str]:
    """The key within the kind of its answer, and the digest; empty without a key."""
    metadata = {name: str(value) for name, value in context.invocation_metadata() or () if name in (KEY, DIGEST)}
    key, digest = metadata.get(KEY, ""), metadata.get(DIGEST, "")
    if max(len(key), len(digest)) > MAX_LENGTH:
        raise InvalidArgument(f"{KEY} and {DIGEST} may have at most {MAX_LENGTH} characters.")
    return (f"{kind.DESCRIPTOR.name} {key}" if key else ""), digest


def _require_same(kept: str, given: str) -> None:
    if kept and given and kept != given:
        raise AlreadyExists("This idempotency key was used for a different request.", "IDEMPOTENCY_KEY_REUSED")


def _replayed(context: Any, kind: type[M], kept: Kept) -> M:
    context.set_trailing_metadata(((REPLAYED, "true"),))
    return kind.FromString(kept.answer)
