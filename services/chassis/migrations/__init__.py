"""Brings each service's schema up to date as a step of its own, and keeps a service off a schema it does not know."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from services.chassis.settings import CommonSettings, refuse

if TYPE_CHECKING:
    from services.chassis.database import Database, Transaction

SERVICES = Path(__file__).parents[2]


def versions_of(service: str) -> Path:
    """The folder of a service's revisions, files named 0001_….py."""
    return SERVICES / service / "migrations" / "versions"


def head_of(service: str) -> str:
    """The newest revision, the number its file begins with."""
    return max(path.name.split("_")[0] for path in versions_of(service).glob("[0-9]*_*.py"))


def migrate(service: str, settings: CommonSettings, revision: str = "head") -> None:
    """Bring a service's schema to a revision, its newest if none is named; repeating it changes nothing."""
    from alembic import command  # noqa: PLC0415 - 10 MB that a running service does not need
    from alembic.config import Config  # noqa: PLC0415 - as above

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_locations", str(versions_of(service)))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(service=service, settings=settings)
    command.upgrade(config, revision)


async def require_current(database: "Database", service: str) -> None:
    """Refuse a database whose schema is older or newer than the code.

    Raises:
        SystemExit: with code 78 and a sentence that says what to run.
    """
    found, wanted = await database.read(_revision), head_of(service)
    if found != wanted:
        refuse(f"The {service} database is at revision {found or 'none'}, the code wants {wanted}. Run: kawaii migrate")


def _revision(transaction: "Transaction") -> str:
    try:
        return str(transaction.scalar(text("SELECT version_num FROM alembic_version")))
    except (OperationalError, ProgrammingError):  # SQLite's and PostgreSQL's word for a table that is not there
        return ""
