"""Brings each service's schema up to date as a step of its own, and keeps a service off a schema it cannot use."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from services.chassis.migrations.window import Window, window_of, window_of_file
from services.chassis.settings import CommonSettings, refuse

if TYPE_CHECKING:
    from services.chassis.database import Database

__all__ = [
    "MigrationError",
    "Window",
    "head_of",
    "migrate",
    "require_compatible",
    "versions_of",
    "window_of",
    "window_of_file",
]

SERVICES = Path(__file__).parents[2]
WAIT_SECONDS = 600.0  # for other migrations, and for locks of transactions that were left open, unless told otherwise


class MigrationError(Exception):
    """A migration that cannot be run now, in a sentence for operators; running it again is safe."""


def versions_of(service: str) -> Path:
    """The folder of a service's revisions, files named 0001_….py."""
    return SERVICES / service / "migrations" / "versions"


def head_of(service: str) -> str:
    """The newest revision, the number its file begins with."""
    return max(path.name.split("_")[0] for path in versions_of(service).glob("[0-9]*_*.py"))


def migrate(
    service: str,
    settings: CommonSettings,
    revision: str = "head",
    *,
    additional: Path | None = None,
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Window, Window]:
    """Bring a service's schema up to a revision, its newest if none is named; repeating it changes nothing.

    A schema that is newer than the code is left as it is. `additional` is a folder of revisions of a test, after ours.
    `tell` is called with a line when others are waited for. Returns the window of before and of now.

    Raises:
        MigrationError: the database is locked or away; running it again is safe.
        SystemExit: the schema is newer, and this code may not use it.
    """
    from services.chassis.migrations.upgrade import Upgrade  # noqa: PLC0415 - 10 MB that a running service spares

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade = Upgrade(service, settings, [*filter(None, (versions_of(service), additional))], wait_seconds, tell)
    upgrade.run(revision)
    return upgrade.before, upgrade.after


async def require_compatible(database: "Database", service: str) -> None:
    """Refuse a database whose schema this code may not use.

    Raises:
        SystemExit: with code 78 and a sentence that says what to do.
    """
    if complaint := (await database.read(window_of)).complaint(service, head_of(service)):
        refuse(complaint)
