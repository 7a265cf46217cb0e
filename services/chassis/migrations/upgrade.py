"""Runs the revisions of a service: alone among those that migrate, and without holding up those that serve.

On PostgreSQL each revision is a transaction of its own, and a run that was interrupted goes on where it ended. A
statement that waits for a lock makes everyone wait who comes after it, so it gives up after a moment and the revision
is tried again. On SQLite all revisions are one transaction.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from services.chassis.database import damage_refused, make_engine
from services.chassis.database.postgresql_url import certificate_refused
from services.chassis.database.transaction import state_of
from services.chassis.migrations import MigrationError
from services.chassis.migrations.window import Window, read_window, write_window
from services.chassis.settings import CommonSettings, refuse

# Below deadlock_timeout (1 s by default), so that a migration is what gives way, and never a transaction of a service.
LOCK_MS = 500
PAUSE_SECONDS = (1.0, 3.0)  # between two tries, when what has queued behind the first is served; at random
TURN_SECONDS = 0.5  # between two looks whether another migration has ended
IDLE_MS = 30_000  # a migration that is frozen in a transaction loses its locks
TURN = 7_316_578  # the key of the advisory lock, as it was in all releases
# Causes outside the revisions, which operators mend: connections, sign-in, names, rights, room, restarts.
OUTSIDE = ("08", "28", "3D", "42501", "53", "57P")
GAVE_WAY = ("55P03", "40P01")  # SQLSTATEs of a lock that was not had in time, and of a deadlock

Tell = Callable[[str], None]


def configuration(versions: list[Path], **attributes: Any) -> Config:
    """Alembic's configuration for these folders of revisions."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_locations", "\n".join(map(str, versions)))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(attributes)
    return config


@dataclass
class Upgrade:
    """One upgrade of one service's schema to a revision; `versions` are the folders of revisions."""

    service: str
    settings: CommonSettings
    versions: list[Path]
    wait_seconds: float
    tell: Tell
    before: Window = field(default_factory=Window)
    after: Window = field(default_factory=Window)
    _until: float = 0.0

    def run(self, revision: str) -> None:
        """Run the revisions that are missing, again and again while others hold locks, for as long as may be waited.

        Raises:
            MigrationError: others held locks for too long, or the database is away.
            SystemExit: the schema is newer than this code, which may not use it.
        """
        self._until = time.monotonic() + self.wait_seconds
        config = configuration(self.versions, connect=self._connect)
        while True:
            try:
                with self._explained():
                    return command.upgrade(config, revision)
            except DBAPIError as error:
                if state_of(error) not in GAVE_WAY:
                    raise
                self._pause(error)

    def _pause(self, error: DBAPIError) -> None:
        """Let traffic pass before the next try; raises MigrationError when there is no time for one."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise MigrationError(
                f"Others have held locks that the migration of {self.service} needs for {self.wait_seconds:.0f} s, "
                "for example a transaction that was left open. The stack was not held up, and what was migrated stays. "
                "Find them in pg_stat_activity, then run kawaii migrate again."
            ) from error
        self.tell(f"{self.service}: waits for locks that others hold, for another {left:.0f} s at most")
        time.sleep(min(left, random.uniform(*PAUSE_SECONDS)))  # noqa: S311 - no secret

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database raises when it is locked, full or away into a sentence."""
        try:
            yield
        except (OSError, OperationalError, DBAPIError) as error:
            if state_of(error) == "SQLITE_BUSY":
                raise MigrationError(
                    f"The {self.service} database is locked by another process, for example a running stack, a backup "
                    "or an sqlite3 shell. Nothing was changed. Stop that process, then run kawaii migrate again."
                ) from error
            away = isinstance(error, OSError | OperationalError) or error.connection_invalidated
            if away or state_of(error).startswith(OUTSIDE):
                cause = getattr(error, "orig", None) or error
                raise MigrationError(
                    f"The {self.service} database could not be migrated: {cause}. Nothing is half done; "
                    "run kawaii migrate again when the cause is gone."
                ) from error
            raise

    def _connect(self, context: EnvironmentContext) -> None:
        """Open the database as the service would, and upgrade it."""
        engine = make_engine(self.settings, self.service, statement_seconds=None)  # tables may be large
        if isinstance(engine, Engine):
            event.listen(engine, "begin", _begin)
            with damage_refused(self.service), engine.begin() as connection:
                self._upgrade(context, connection)
            return

        async def connected() -> None:
            try:
                with certificate_refused():
                    async with engine.connect() as connection:
                        await connection.run_sync(lambda sync: self._alone(context, sync))
            finally:
                await engine.dispose()

        asyncio.run(connected())

    def _alone(self, context: EnvironmentContext, connection: Connection) -> None:
        """Upgrade while nobody else does; the lock belongs to the connection, and ends with it."""
        connection.exec_driver_sql("SET statement_timeout = 0")  # whatever the role's is: indexes of large tables
        connection.exec_driver_sql(f"SET idle_in_transaction_session_timeout = {IDLE_MS}")
        connection.exec_driver_sql(f"SET lock_timeout = {LOCK_MS}")
        connection.commit()
        self._take_turn(connection)
        if not connection.scalar(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": self.service}):
            connection.exec_driver_sql(f'CREATE SCHEMA "{self.service}"')
        connection.commit()
        self._upgrade(context, connection)
        connection.commit()

    def _take_turn(self, connection: Connection) -> None:
        """Take the lock by asking again and again: whoever waited in a statement would hold up concurrent indexes.

        Raises:
            MigrationError: another migration is not done in time.
        """
        told = False
        while True:
            got = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": TURN})
            connection.commit()
            if got:
                return
            if time.monotonic() > self._until:
                raise MigrationError(
                    f"Another kawaii migrate has been at work for {self.wait_seconds:.0f} s. It goes on; "
                    "run this again when it has ended."
                )
            if not told:
                self.tell(f"{self.service}: waits for another kawaii migrate")
            told = True
            time.sleep(TURN_SECONDS)

    def _upgrade(self, context: EnvironmentContext, connection: Connection) -> None:
        """Run the revisions; each writes the version window in its own transaction."""
        script = context.script
        self.before, head = read_window(connection), str(script.get_current_head())
        self.after = self.before
        if self.before.is_ahead_of(head):
            if complaint := self.before.complaint(self.service, head):
                refuse(complaint)
            return
        postgresql = connection.dialect.name == "postgresql"
        if postgresql:
            connection.commit()

        def keep(ctx: object, step: object, heads: Collection[Any], run_args: object) -> None:
            del ctx, step, run_args
            (revision,) = heads
            self.after = window_at(script, revision)
            write_window(connection, self.after)

        context.configure(
            connection=connection,
            render_as_batch=True,
            transactional_ddl=True,
            transaction_per_migration=postgresql,
            on_version_apply=keep,
        )
        with context.begin_transaction():
            context.run_migrations()
        expected = window_at(script, str(context.get_context().get_current_revision()))
        if self.after != expected:  # a database of a release before the window, for which no revision was missing
            self.after = expected
            write_window(connection, expected)


def window_at(script: ScriptDirectory, revision: str) -> Window:
    """The window of a schema at a revision: the newest `oldest_compatible` that a revision up to it declares."""
    revisions = list(script.iterate_revisions(revision, "base"))
    declared = (getattr(each.module, "oldest_compatible", "") for each in revisions)
    return Window(revision, next(filter(None, declared), revisions[-1].revision))


def _begin(connection: Connection) -> None:
    """Take SQLite's write lock first: two that migrate at once take turns."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
