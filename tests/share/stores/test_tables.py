"""The tables: the migrations make what the statements expect, and every list is read from an index."""

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from services.chassis.database import Database
from services.share.model import NEWEST, Facet, Policy, View
from services.share.settings import ShareSettings
from services.share.stores.shares import select_latest, select_page
from services.share.stores.tables import metadata
from tests.support.schema import schema_differences

on_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # its plans do not depend on the data


async def test_the_migrations_make_the_tables(settings: ShareSettings) -> None:
    assert await schema_differences(settings, "share", metadata) == []


async def plan(database: Database, statement: Select[*tuple[object, ...]]) -> str:
    text = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    rows = await database.read(
        lambda transaction: transaction.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    )
    return "\n".join(str(row[-1]) for row in rows)


@on_sqlite
@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("facet", Facet)
async def test_a_page_is_read_from_ranges_of_an_index(database: Database, policy: Policy, facet: Facet) -> None:
    view = View(policy, facet, "x" if facet else "")

    steps = await plan(database, select_page(view, limit=21, before=NEWEST, skip=0))

    assert "SCAN share" not in steps
    assert "USING COVERING INDEX" in steps
    assert "SEARCH share USING INTEGER PRIMARY KEY" in steps


@on_sqlite
@pytest.mark.parametrize("policy", Policy)
async def test_the_latest_are_read_from_ranges_of_an_index(database: Database, policy: Policy) -> None:
    steps = await plan(database, select_latest(View(policy), 12))

    assert "SCAN share" not in steps
    assert "share_by_generate_ms" in steps
