"""Opens the one database file and gathers the table families; the standard library's sqlite3 keeps the process light.

Statements take some tens of microseconds, so they run on the event loop, and one thread means no locks. WAL with
synchronous=NORMAL survives kill -9; only a power cut could lose the last commits, and a stand-in may.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from services.sandbox.ports import Accounts, Deliveries, Notebook, Scripts, Shelf, Tasks
from services.sandbox.stores.accounts import SqliteAccounts
from services.sandbox.stores.deliveries import SqliteDeliveries
from services.sandbox.stores.notebook import SqliteNotebook
from services.sandbox.stores.scripts import SqliteScripts
from services.sandbox.stores.shelf import SqliteShelf
from services.sandbox.stores.tasks import SqliteTasks

BUSY_MILLISECONDS = 5000  # a person may look into the file meanwhile

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, granted INTEGER NOT NULL, spent INTEGER NOT NULL DEFAULT 0,
    revoked INTEGER NOT NULL DEFAULT 0, revoked_keys TEXT NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, prompt TEXT NOT NULL, draft TEXT NOT NULL, step TEXT NOT NULL,
    create_ms INTEGER NOT NULL, complete_ms INTEGER, request_number INTEGER NOT NULL,
    record_reads INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS tasks_by_account ON tasks (account, create_ms);
CREATE INDEX IF NOT EXISTS tasks_by_prompt ON tasks (prompt);
CREATE TABLE IF NOT EXISTS ledger (
    task_id TEXT PRIMARY KEY, account TEXT NOT NULL, credits INTEGER NOT NULL, refund_ms INTEGER);
CREATE INDEX IF NOT EXISTS ledger_by_account ON ledger (account, refund_ms);
CREATE TABLE IF NOT EXISTS results (
    path TEXT PRIMARY KEY, task_id TEXT NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL,
    expires_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS results_by_task ON results (task_id, position);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, success INTEGER NOT NULL, due_ms INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS deliveries_by_due ON deliveries (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS deliveries_by_task ON deliveries (task_id);
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, delivery_id INTEGER NOT NULL, number INTEGER NOT NULL,
    success INTEGER NOT NULL, at_ms INTEGER NOT NULL, status INTEGER NOT NULL, error TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_task ON attempts (task_id);
CREATE TABLE IF NOT EXISTS scripts (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, family TEXT NOT NULL, prompt_contains TEXT NOT NULL,
    steps TEXT NOT NULL, times INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS positions (prompt_digest TEXT PRIMARY KEY, used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS links (token TEXT PRIMARY KEY, path TEXT NOT NULL, expires_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS uploads (
    path TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, mime TEXT NOT NULL, size INTEGER NOT NULL,
    digest TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, code INTEGER,
    status INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
TABLES = (
    "accounts", "tasks", "ledger", "results", "deliveries", "attempts", "scripts", "positions", "links", "uploads",
    "requests", "facts",
)  # fmt: skip


class SqliteStore:
    """Keeps the promises of ports.Store in one file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.accounts: Accounts = SqliteAccounts(connection)
        self.tasks: Tasks = SqliteTasks(connection)
        self.deliveries: Deliveries = SqliteDeliveries(connection)
        self.scripts: Scripts = SqliteScripts(connection)
        self.shelf: Shelf = SqliteShelf(connection)
        self.notebook: Notebook = SqliteNotebook(connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside together, or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            for table in TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  the names are the constants above


@contextmanager
def open_store(folder: Path) -> Iterator[SqliteStore]:
    """Open sandbox.sqlite3 in a folder, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "sandbox.sqlite3", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(SCHEMA)
        yield SqliteStore(connection)
