"""Revisions after the baseline hold up nobody and break no older code: each rule, and every revision there is."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import connect_database
from services.chassis.migrations import migrate, versions_of
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.chassis.migrations.revisions import later, write
from tests.support.migration_rules import BASELINE, recorded, violations
from tests.support.postgres import Postgres

NEXT = later(SERVICE)
OPERATIONS = "from services.chassis.migrations.operations import backfill, create_index, drop_index, set_not_null\n"

BROKEN = {
    "indexes of existing tables are built and dropped concurrently": [
        'op.create_index("new", "outbox", ["create_ms"])',
        'op.create_index("new", "outbox", ["create_ms"], unique=True)',
        'op.drop_index("outbox_generation", "outbox")',
    ],
    "rows are changed in batches": [
        "op.execute(\"UPDATE outbox SET snapshot = ''\")",
        'op.execute("DELETE FROM outbox")',
    ],
    "no statement locks a whole table": ['op.execute("LOCK TABLE outbox")', 'op.execute("TRUNCATE outbox")'],
    "nothing is renamed": [
        'op.rename_table("pruned", "cut")',
        'op.alter_column("outbox", "snapshot", new_column_name="text")',
    ],
    "what is dropped raises oldest_compatible": ['op.drop_column("outbox", "snapshot")', 'op.drop_table("pruned")'],
    "no column changes its type": ['op.alter_column("outbox", "create_ms", type_=sa.Text)'],
    "NOT NULL follows a checked constraint": ['op.alter_column("attempt", "code", nullable=False)'],
    "a new column has a default or takes NULL": ['op.add_column("outbox", sa.Column("n", sa.Text, nullable=False))'],
    "the default of a new column is a constant": [
        'op.add_column("outbox", sa.Column("n", sa.Float, server_default=sa.text("random()")))',
        'op.add_column("outbox", sa.Column("n", sa.DateTime, server_default=sa.func.now()))',
    ],
    "a new column has no key, no sequence and no reference": [
        'op.execute("ALTER TABLE outbox ADD COLUMN n BIGSERIAL")',
        'op.execute("ALTER TABLE outbox ADD COLUMN n TEXT REFERENCES generation (id)")',
    ],
    "a constraint is added NOT VALID": ['op.create_check_constraint("new", "outbox", "create_ms > 0")'],
    "a key is made from an index": ['op.create_unique_constraint("new", "outbox", ["create_ms"])'],
}
KEPT = [
    'op.add_column("outbox", sa.Column("n", sa.Text))',
    'op.add_column("outbox", sa.Column("n", sa.Text, nullable=False, server_default=""))',
    'op.add_column("outbox", sa.Column("n", sa.Integer, nullable=False, server_default="0"))',
    'op.add_column("outbox", sa.Column("n", sa.Boolean, nullable=False, server_default=sa.false()))',
    'op.create_table("new", sa.Column("id", sa.Text, primary_key=True))\nop.create_index("newer", "new", ["id"])',
    f'{OPERATIONS}create_index("new", "outbox", ["create_ms"], where="create_ms > 0")',
    f'{OPERATIONS}drop_index("outbox_generation", "outbox")',
    f'{OPERATIONS}set_not_null("attempt", "code")',
    OPERATIONS + "backfill(\"UPDATE outbox SET snapshot = '' WHERE sequence < 0\")",  # noqa: S608 - a constant
    'op.execute("ALTER TABLE outbox ADD CONSTRAINT new CHECK (create_ms > 0) NOT VALID")',
]
UNDO = "\nraise RuntimeError('undo all of it')"
CASES = [(rule, body) for rule, bodies in BROKEN.items() for body in bodies]


@pytest.fixture
def postgresql(postgres_server: Postgres, tmp_path: Path) -> CommonSettings:
    return CommonSettings(data_dir=tmp_path, database_url=postgres_server.create_database(), _env_file=None)


@pytest.fixture
def migrated(postgresql: CommonSettings) -> CommonSettings:
    migrate(SERVICE, postgresql)
    return postgresql


def files(settings: CommonSettings, service: str) -> dict[str, int]:
    """The file in which PostgreSQL keeps each table: another one when the table was rewritten."""
    statement = text(
        "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(:schema)"
    )

    async def look() -> dict[str, int]:
        async with connect_database(settings, service) as database:
            rows = await database.read(lambda transaction: transaction.execute(statement, {"schema": service}).all())
            return {str(name): int(file) for name, file in rows}

    return asyncio.run(look())


def broken_by(settings: CommonSettings, tmp_path: Path, body: str, **declared: str) -> list[str]:
    """The rules that a revision with this body breaks."""
    folder = write(tmp_path / "more", SERVICE, body, **declared)
    with recorded() as sent:
        migrate(SERVICE, settings, additional=folder)
    return violations(sent, NEXT, declared.get("oldest_compatible", ""))


@pytest.fixture(scope="module")
def shared(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> CommonSettings:
    """A database whose changes are undone."""
    url = postgres_server.create_database()
    settings = CommonSettings(data_dir=tmp_path_factory.mktemp("shared"), database_url=url, _env_file=None)
    migrate(SERVICE, settings)
    return settings


@pytest.mark.parametrize(("rule", "body"), CASES, ids=[body for _, body in CASES])
def test_a_rule_that_a_revision_breaks_is_named(shared: CommonSettings, tmp_path: Path, rule: str, body: str) -> None:
    folder = write(tmp_path / "more", SERVICE, body + UNDO)
    with recorded() as sent, pytest.raises(RuntimeError, match="undo all of it"):
        migrate(SERVICE, shared, additional=folder)

    assert any(rule in broken for broken in violations(sent, NEXT, ""))


def test_what_runs_outside_of_the_transaction_stands_alone(migrated: CommonSettings, tmp_path: Path) -> None:
    column = 'op.add_column("outbox", sa.Column("n", sa.Text))'
    (broken,) = broken_by(migrated, tmp_path, f'{OPERATIONS}{column}\ncreate_index("new", "outbox", ["n"])')

    assert "stands alone in its revision" in broken


@pytest.mark.parametrize("body", KEPT, ids=[body.rpartition("\n")[2] for body in KEPT])
def test_a_revision_may_do_what_the_rules_allow(migrated: CommonSettings, tmp_path: Path, body: str) -> None:
    before = files(migrated, SERVICE)

    assert broken_by(migrated, tmp_path, body) == []
    assert before.items() <= files(migrated, SERVICE).items()


def test_a_contraction_may_drop_what_the_release_before_does_not_use(migrated: CommonSettings, tmp_path: Path) -> None:
    assert broken_by(migrated, tmp_path, 'op.drop_column("outbox", "snapshot")', oldest_compatible="0008") == []


def test_no_revision_shuts_out_the_release_before_it(migrated: CommonSettings, tmp_path: Path) -> None:
    broken = broken_by(migrated, tmp_path, 'op.drop_column("outbox", "snapshot")', oldest_compatible=NEXT)

    assert broken == ["oldest_compatible is older than its own revision: a release that knows both comes between"]


@pytest.mark.parametrize("service", sorted(BASELINE))
def test_every_revision_after_the_baseline_keeps_the_rules(service: str, postgresql: CommonSettings) -> None:
    names = sorted(path.name.split("_")[0] for path in versions_of(service).glob("[0-9]*_*.py"))
    migrate(service, postgresql, BASELINE[service])
    for revision in (name for name in names if int(name) > int(BASELINE[service])):
        before = files(postgresql, service)
        with recorded() as sent:
            _, after = migrate(service, postgresql, revision)
        declared = after.oldest_compatible if after.oldest_compatible != BASELINE[service] else ""

        assert violations(sent, revision, declared) == []
        assert before.items() <= files(postgresql, service).items(), f"{revision} rewrites a table"
