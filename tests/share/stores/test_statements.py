"""The statements of the share store: SQLAlchemy compiles each once, which takes as long as several of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.interfaces import CacheStats

from services.chassis.database import Database
from services.share.model import Share
from tests.share.conftest import in_sql


@contextmanager
def compiled(database: Database) -> Iterator[list[str]]:
    """Collects the statements that are compiled, though they were before."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's
        if context.cache_hit is not CacheStats.CACHE_HIT:
            found.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


async def test_a_share_with_other_tags_needs_no_statement_that_was_not_compiled_before(
    database: Database, make: Callable[..., Share]
) -> None:
    store = in_sql(database)
    await store.insert(make(seo_tags=("cat", "rain")), "digest")

    with compiled(database) as found:
        await store.insert(make(seo_tags=("cat", "heron", "rain")), "digest")

    assert found == []
