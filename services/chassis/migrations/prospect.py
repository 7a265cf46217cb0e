"""What `kawaii migrate` would do to a schema, and what that means for the processes that use it; changes nothing."""

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.script.base import Script

from services.chassis.database import connect_database, damage_refused
from services.chassis.database.postgresql_url import certificate_refused
from services.chassis.errors import Unavailable
from services.chassis.migrations import MigrationError, versions_of
from services.chassis.migrations.upgrade import configuration, window_at
from services.chassis.migrations.window import Window, order_of, window_of, window_of_file
from services.chassis.settings import CommonSettings


@dataclass(frozen=True)
class Step:
    """A revision that would be run: what it says of itself, and the oldest code that may go on if it contracts."""

    revision: str
    summary: str
    oldest_compatible: str

    def __str__(self) -> str:
        kind = f"contracts to code of {self.oldest_compatible} and newer" if self.oldest_compatible else "expands"
        return f"{self.revision} {kind}: {self.summary}"


@dataclass(frozen=True)
class Prospect:
    """What a schema is, which revisions would be run, and what it would be; `refusal` says why none may."""

    service: str
    before: Window
    steps: tuple[Step, ...]
    after: Window
    refusal: str

    @property
    def changes(self) -> bool:
        """Whether `kawaii migrate` would change anything."""
        return self.before != self.after and not self.refusal

    @property
    def lines(self) -> list[str]:
        """The same for operators."""
        if self.refusal:
            return [self.refusal]
        before, after = self.before, self.after
        if not self.changes:
            window = f"revision {before.revision}, for code of {before.oldest_compatible} and newer"
            return [f"{self.service}: up to date ({window})"]
        if not before.revision:
            return [f"{self.service}: has no schema, would be made at revision {after.revision}"]
        if not self.steps:
            window = f"at revision {before.revision}, would note that code of {after.oldest_compatible} may use it"
            return [f"{self.service}: {window}"]
        return [
            f"{self.service}: at revision {before.revision}, would come to {after.revision}; {self._effect}",
            *(f"  {step}" for step in self.steps),
        ]

    @property
    def _effect(self) -> str:
        """What becomes of the processes that run now, whose code is at most as new as the schema."""
        oldest = self.after.oldest_compatible
        if not self.before.oldest_compatible:
            return "stop all processes of that release first: it knows no later schema"
        if order_of(oldest) <= order_of(self.before.oldest_compatible):
            return "all running processes go on"
        if order_of(oldest) <= order_of(self.before.revision):
            return f"processes with code of {oldest} and newer go on, stop older ones first"
        return f"stop all processes first: code of {oldest} and newer is needed"


def prospect_of(service: str, settings: CommonSettings, additional: Path | None = None) -> Prospect:
    """Look at a service's schema and its revisions.

    Raises:
        MigrationError: the database cannot be read.
        SystemExit: its file is damaged, or the server shows a certificate that DATABASE_URL does not allow.
    """
    before = _found(service, settings)
    versions = [*filter(None, (versions_of(service), additional))]
    script = ScriptDirectory.from_config(configuration(versions))
    head = str(script.get_current_head())
    if before.is_ahead_of(head):
        return Prospect(service, before, (), before, before.complaint(service, head))
    missing = reversed(list(script.iterate_revisions(head, before.revision or "base")))
    steps = tuple(_step(each) for each in missing)
    return Prospect(service, before, steps, window_at(script, head), "")


def _step(revision: Script) -> Step:
    summary = (revision.doc or "").partition("\n")[0]
    return Step(revision.revision, summary, str(getattr(revision.module, "oldest_compatible", "")))


def _found(service: str, settings: CommonSettings) -> Window:
    async def look() -> Window:
        async with connect_database(settings, service) as database:
            return await database.read(window_of)

    file = settings.data_dir / f"{service}.sqlite3"
    try:
        with damage_refused(service), certificate_refused():
            return asyncio.run(look()) if settings.database_url else window_of_file(file)
    except (Unavailable, sqlite3.Error) as error:
        raise MigrationError(f"The {service} database cannot be read: {error}.") from error
