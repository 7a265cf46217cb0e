"""The rules that revisions keep on PostgreSQL, as docs/upgrades.md#rules has them, checked by what a revision sends."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event

# The newest revisions when the rules were made: what is older ran while the stack was stopped.
BASELINE = {"generation": "0008", "storage": "0005", "share": "0005", "community": "0008"}
OWN = ("alembic_version", "schema_window")  # tables that only migrations use
CONSTANT = re.compile(r"""DEFAULT ('[^']*'|-?[\d.]+|true|false|NULL)(::\w+)?(?= |,|$)""", re.IGNORECASE)


@dataclass
class Recorded:
    """What a revision sends: statements in its transaction, and those outside of one."""

    inside: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @property
    def changes(self) -> list[str]:
        """All that changes tables or rows of the service, in upper case but for names."""
        return [each for each in self.inside + self.outside if not _is_own(each)]

    @property
    def created(self) -> set[str]:
        """The tables that are made here, which nobody uses yet."""
        return {found[1] for each in self.inside if (found := re.match(r'CREATE TABLE "?(\w+)"?', each))}


@contextmanager
def recorded() -> Iterator[Recorded]:
    """What is sent to any database meanwhile."""
    recorded = Recorded()

    def note(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        level = connection.get_execution_options().get("isolation_level")
        words = " ".join(statement.split())
        (recorded.outside if level == "AUTOCOMMIT" else recorded.inside).append(words)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield recorded
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def violations(sent: Recorded, revision: str, oldest_compatible: str) -> list[str]:
    """Every rule that a revision breaks, with the statement that breaks it."""
    found = [f"{rule}: {each}" for each in sent.changes for rule in _broken(each, sent, oldest_compatible)]
    inside = [each for each in sent.inside if not _is_own(each)]
    if inside and [each for each in sent.outside if not _is_own(each)]:
        found.append("an operation that runs outside of the transaction stands alone in its revision")
    if oldest_compatible and not int(oldest_compatible) < int(revision):
        found.append("oldest_compatible is older than its own revision: a release that knows both comes between")
    return found


def _broken(statement: str, sent: Recorded, oldest_compatible: str) -> Iterator[str]:
    """The rules that one statement breaks."""
    if _table(statement) in sent.created:
        return
    upper = statement.upper()
    if re.match(r"(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX)\b", upper) and "CONCURRENTLY" not in upper:
        yield "indexes of existing tables are built and dropped concurrently"
    if re.match(r"(UPDATE|DELETE|INSERT|MERGE)\b", upper) and statement in sent.inside:
        yield "rows are changed in batches"
    if re.match(r"(LOCK|TRUNCATE|CLUSTER|VACUUM)\b", upper):
        yield "no statement locks a whole table"
    if re.search(r"\bRENAME\b", upper):
        yield "nothing is renamed: older code knows the old name"
    if re.match(r"(DROP TABLE|ALTER TABLE .* DROP COLUMN)\b", upper) and not oldest_compatible:
        yield "what is dropped raises oldest_compatible"
    if upper.startswith("ALTER TABLE"):
        yield from _altered(upper, statement, sent)


def _altered(upper: str, statement: str, sent: Recorded) -> Iterator[str]:
    if re.search(r"\bTYPE\b", upper):
        yield "no column changes its type"
    if re.search(r"ALTER COLUMN .* SET NOT NULL", upper) and not any(
        "VALIDATE CONSTRAINT" in each for each in sent.outside[: _place(statement, sent.outside)]
    ):
        yield "NOT NULL follows a checked constraint"
    if re.search(r"ADD COLUMN .* NOT NULL", upper) and "DEFAULT" not in upper:
        yield "a new column has a default or takes NULL: older code does not write it"
    if re.search(r"ADD COLUMN", upper) and "DEFAULT" in upper and not CONSTANT.search(statement):
        yield "the default of a new column is a constant"
    if re.search(r"ADD COLUMN .*\b(SERIAL|BIGSERIAL|GENERATED|UNIQUE|REFERENCES|PRIMARY)\b", upper):
        yield "a new column has no key, no sequence and no reference"
    if re.search(r"ADD (CONSTRAINT \S+ )?(CHECK|FOREIGN)\b", upper) and "NOT VALID" not in upper:
        yield "a constraint is added NOT VALID and checked later"
    if re.search(r"ADD (CONSTRAINT \S+ )?(UNIQUE|PRIMARY|EXCLUDE)\b", upper) and "USING INDEX" not in upper:
        yield "a key is made from an index that was built concurrently"


def _place(statement: str, among: list[str]) -> int:
    return among.index(statement) if statement in among else 0


def _table(statement: str) -> str:
    """The table that a statement is about."""
    found = re.search(r'\b(?:ON|TABLE(?: ONLY)?|INTO|UPDATE|FROM)\b (?:IF (?:NOT )?EXISTS )?"?(\w+)"?', statement)
    return found[1] if found else ""


def _is_own(statement: str) -> bool:
    """Whether it only asks, or is part of how revisions are run."""
    return bool(re.match(r"(SELECT|SHOW|SET|BEGIN|COMMIT|CREATE SCHEMA|WITH)\b", statement)) or _table(statement) in OWN
