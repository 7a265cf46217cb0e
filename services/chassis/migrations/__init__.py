"""Brings each service's schema up to date as a step of its own, and keeps a service off a schema it cannot use."""

from pathlib import Path
from typing import TYPE_CHECKING

from services.chassis.migrations.window import Window, window_of, window_of_file
from services.chassis.settings import CommonSettings, refuse

if TYPE_CHECKING:
    from services.chassis.database import Database

__all__ = ["Window", "head_of", "migrate", "require_compatible", "versions_of", "window_of", "window_of_file"]

SERVICES = Path(__file__).parents[2]


def versions_of(service: str) -> Path:
    """The folder of a service's revisions, files named 0001_….py."""
    return SERVICES / service / "migrations" / "versions"


def head_of(service: str) -> str:
    """The newest revision, the number its file begins with."""
    return max(path.name.split("_")[0] for path in versions_of(service).glob("[0-9]*_*.py"))


def migrate(service: str, settings: CommonSettings, revision: str = "head", additional: Path | None = None) -> None:
    """Bring a service's schema up to a revision, its newest if none is named; repeating it changes nothing.

    A schema that is newer than the code is left as it is. `additional` is a folder of revisions of a test, after ours.

    Raises:
        SystemExit: the schema is newer, and this code may not use it.
    """
    from alembic import command  # noqa: PLC0415 - 10 MB that a running service does not need
    from alembic.config import Config  # noqa: PLC0415 - as above

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_locations", "\n".join(map(str, filter(None, (versions_of(service), additional)))))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(service=service, settings=settings)
    command.upgrade(config, revision)


async def require_compatible(database: "Database", service: str) -> None:
    """Refuse a database whose schema this code may not use.

    Raises:
        SystemExit: with code 78 and a sentence that says what to do.
    """
    if complaint := (await database.read(window_of)).complaint(service, head_of(service)):
        refuse(complaint)
