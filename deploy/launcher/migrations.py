"""Tells cheaply whether a SQLite database waits for a migration, so that an ordinary start needs no Alembic."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

SERVICES = Path(__file__).resolve().parents[2] / "services"


def pending(services: Iterable[str], data_dir: Path) -> list[str]:
    """The services whose database is not at the newest revision of their code."""
    return [service for service in services if newest(service) != current(data_dir / f"{service}.sqlite3")]


def newest(service: str, home: Path = SERVICES) -> str:
    """The number before the underscore of the last revision file; empty when there is none."""
    files = (home / service / "migrations" / "versions").glob("[0-9]*_*.py")
    return max((file.name.partition("_")[0] for file in files), default="")


def current(database: Path) -> str:
    """The revision that a database says it is at; empty when it does not say."""
    if not database.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return ""  # the migration itself will find out what is wrong, and say it
    return str(row[0]) if row else ""
