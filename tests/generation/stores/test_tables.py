"""The tables that statements are written against are those that the migrations make, on every engine."""

from services.chassis.settings import CommonSettings
from services.generation.stores.tables import metadata
from tests.support.schema import schema_differences


async def test_the_migrations_make_the_tables(engine: CommonSettings) -> None:
    assert await schema_differences(engine, "generation", metadata) == []
