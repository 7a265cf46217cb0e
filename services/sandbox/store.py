"""All state of the sandbox in one SQLite file, through the standard library's sqlite3, which keeps the process light.

Statements take some tens of microseconds, so they run on the event loop, and one thread means no locks. WAL with
synchronous=NORMAL survives `kill -9`; only a power cut could lose the last commits, which is acceptable for tests.
Credits are stored as whole hundredths, so that sums are exact.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple
from decimal import Decimal
from pathlib import Path
from typing import Any

from services.sandbox.model import (
    Account,
    Delivery,
    DeliveryResult,
    Json,
    Result,
    Script,
    Switches,
    Task,
    TaskSpec,
    Upload,
)
from services.sandbox.scripts import parse

BUSY_MILLISECONDS = 5000  # a person may look into the file meanwhile
HUNDREDTH = Decimal("0.01")
DELIVERIES_PAGE = 100  # more than the sender sends at once; the rest is read when these are done
KEPT_REQUESTS = 10_000  # enough to look back over a load test, little enough to stay a few megabytes

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

REFUNDED = "SELECT COALESCE(SUM(credits), 0) FROM ledger WHERE account = ? AND refund_ms <= ?"
INSERT_TASK = """
INSERT INTO tasks (id, account, prompt, draft, step, create_ms, complete_ms, request_number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
INSERT_BILL = "INSERT INTO ledger (task_id, account, credits, refund_ms) VALUES (?, ?, ?, ?)"
SEARCH_TASKS = """
SELECT * FROM tasks WHERE (:prompt IS NULL OR prompt = :prompt) AND (:id IS NULL OR id = :id)
ORDER BY create_ms, rowid"""
INSERT_DELIVERY = "INSERT INTO deliveries (task_id, success, due_ms) VALUES (?, ?, ?)"
DUE_DELIVERIES = "SELECT * FROM deliveries WHERE due_ms <= ? ORDER BY due_ms, id LIMIT ?"
INSERT_ATTEMPT = """
INSERT INTO attempts (task_id, delivery_id, number, success, at_ms, status, error) VALUES (?, ?, ?, ?, ?, ?, ?)"""
ATTEMPTS = "SELECT delivery_id, number, success, at_ms, status, error FROM attempts WHERE task_id = ? ORDER BY id"
INSERT_SCRIPT = "INSERT INTO scripts (account, family, prompt_contains, steps, times) VALUES (?, ?, ?, ?, ?)"
ADVANCE_PROMPT = """
INSERT INTO positions (prompt_digest, used) VALUES (?, 1)
ON CONFLICT (prompt_digest) DO UPDATE SET used = used + 1 RETURNING used"""
INSERT_REQUEST = "INSERT INTO requests (at_ms, method, path, code, status) VALUES (?, ?, ?, ?, ?)"
PRUNE_REQUESTS = "DELETE FROM requests WHERE id <= (SELECT MAX(id) FROM requests) - ?"
REQUESTS = """
SELECT at_ms, method, path, code, status FROM requests WHERE substr(path, 1, length(:path)) = :path
ORDER BY id DESC LIMIT :limit"""
ADD_TO_FACT = """
INSERT INTO facts (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value"""


class Store:
    """Reads and writes the tables. Every call is short and synchronous; a commit survives the death of the process."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits everything inside together, or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    def clear(self) -> None:
        """Deletes all rows of all tables."""
        with self.transaction():
            for table in TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  the names are the constants above

    # Accounts

    def open_account(self, name: str, granted: Decimal) -> None:
        """Adds an account unless it exists."""
        self._connection.execute(
            "INSERT INTO accounts (name, granted) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (name, _to_hundredths(granted)),
        )

    def account(self, name: str, now_ms: int) -> Account:
        """Reads an existing account; a refund counts from the moment its task fails."""
        row = self._row("SELECT * FROM accounts WHERE name = ?", name)
        return Account(
            name=name,
            granted=row["granted"] * HUNDREDTH,
            spent=row["spent"] * HUNDREDTH,
            refunded=self._number(REFUNDED, name, now_ms) * HUNDREDTH,
            revoked=bool(row["revoked"]),
            revoked_keys=tuple(json.loads(row["revoked_keys"])),
        )

    def update_account(self, account: Account) -> None:
        """Writes granted, revoked and revoked_keys of an existing account."""
        self._connection.execute(
            "UPDATE accounts SET granted = ?, revoked = ?, revoked_keys = ? WHERE name = ?",
            (_to_hundredths(account.granted), account.revoked, json.dumps(account.revoked_keys), account.name),
        )

    # Tasks, their bills and their results

    def add_task(self, task: Task, results: list[Result], refund_ms: int | None) -> None:
        """Writes a task, its bill and its results, and debits the account; the caller holds a transaction.

        refund_ms is when the credits come back, None for never.
        """
        amount, spec = _to_hundredths(task.spec.credits), json.dumps(asdict(task.spec), default=str)
        times = (task.create_ms, task.complete_ms, task.request_number)
        self._connection.execute(INSERT_TASK, (task.id, task.account, task.spec.prompt, spec, task.step.text, *times))
        self._connection.execute(INSERT_BILL, (task.id, task.account, amount, refund_ms))
        self._connection.execute("UPDATE accounts SET spent = spent + ? WHERE name = ?", (amount, task.account))
        self._connection.executemany("INSERT INTO results VALUES (?, ?, ?, ?, ?)", map(astuple, results))

    def task(self, task_id: str) -> Task | None:
        """Reads a task."""
        row = self._row("SELECT * FROM tasks WHERE id = ?", task_id)
        return _task_of(row) if row else None

    def search_tasks(self, prompt: str | None, task_id: str | None) -> list[Task]:
        """Reads all tasks, or those of exactly this prompt or id, oldest first."""
        return [_task_of(row) for row in self._connection.execute(SEARCH_TASKS, {"prompt": prompt, "id": task_id})]

    def count_tasks_since(self, account: str, since_ms: int) -> int:
        """Counts the account's tasks created after a time."""
        return self._number("SELECT COUNT(*) FROM tasks WHERE account = ? AND create_ms > ?", account, since_ms)

    def other_task_id(self, task: Task, *, same_account: bool) -> str:
        """Reads the id of the newest other task, of the same account or of any other; empty when there is none."""
        owned = "=" if same_account else "!="
        query = f"SELECT id FROM tasks WHERE account {owned} ? AND id != ? ORDER BY rowid DESC LIMIT 1"  # noqa: S608  one of two operators
        row = self._row(query, task.account, task.id)
        return str(row["id"]) if row else ""

    def count_record_read(self, task_id: str) -> int:
        """Counts one more read of an existing task's record and returns how many there were."""
        return self._number(
            "UPDATE tasks SET record_reads = record_reads + 1 WHERE id = ? RETURNING record_reads", task_id
        )

    def results(self, task_id: str) -> list[Result]:
        """Reads a task's files in the order of their position."""
        rows = self._connection.execute("SELECT * FROM results WHERE task_id = ? ORDER BY position", (task_id,))
        return [Result(**dict(row)) for row in rows]

    def result(self, path: str) -> Result | None:
        """Reads the file at a path."""
        row = self._row("SELECT * FROM results WHERE path = ?", path)
        return Result(**dict(row)) if row else None

    # Callback deliveries; a row without due_ms is over

    def add_deliveries(self, task: Task) -> None:
        """Adds the task's callbacks."""
        rows = [(task.id, success, due_ms) for success, due_ms in task.callbacks()]
        self._connection.executemany(INSERT_DELIVERY, rows)

    def add_delivery(self, task: Task, due_ms: int) -> None:
        """Adds one more callback, which reports how the task truly ended."""
        self._connection.execute(INSERT_DELIVERY, (task.id, not task.life.failure, due_ms))

    def due_deliveries(self, now_ms: int) -> list[Delivery]:
        """Reads pending deliveries whose time has come, earliest first, at most DELIVERIES_PAGE."""
        rows = self._connection.execute(DUE_DELIVERIES, (now_ms, DELIVERIES_PAGE))
        return [Delivery(r["id"], r["task_id"], bool(r["success"]), r["due_ms"], r["attempts"]) for r in rows]

    def next_due_ms(self, now_ms: int) -> int | None:
        """Reads when the earliest delivery that is not due yet becomes due."""
        due: int | None = self._row("SELECT MIN(due_ms) FROM deliveries WHERE due_ms > ?", now_ms)[0]
        return due

    def add_attempt(self, delivery: Delivery, result: DeliveryResult, now_ms: int, retry_ms: int | None) -> None:
        """Logs an attempt; retry_ms is when the next one is due, None ends the delivery."""
        number = delivery.attempts + 1
        ids = (delivery.task_id, delivery.id, number, delivery.success)
        with self.transaction():
            self._connection.execute(INSERT_ATTEMPT, (*ids, now_ms, result.status, result.error))
            self._connection.execute(
                "UPDATE deliveries SET attempts = ?, due_ms = ? WHERE id = ?", (number, retry_ms, delivery.id)
            )

    def attempts(self, task_id: str) -> list[Json]:
        """Reads each attempt to deliver the task's callbacks, oldest first; the keys are those of a control route."""
        rows = self._connection.execute(ATTEMPTS, (task_id,))
        return [dict(row) | {"success": bool(row["success"])} for row in rows]

    def count_deliveries(self, task_id: str) -> int:
        """Counts the task's deliveries, sent or not."""
        return self._number("SELECT COUNT(*) FROM deliveries WHERE task_id = ?", task_id)

    # Scripts set by the control routes, and how often each prompt's own script was used

    def add_script(self, script: Script) -> None:
        """Adds a script; its id is given by the table."""
        steps = json.dumps(script.steps)
        values = (script.account, script.family, script.prompt_contains, steps, script.times)
        self._connection.execute(INSERT_SCRIPT, values)

    def pending_scripts(self) -> list[Script]:
        """Reads the scripts with uses left, oldest first."""
        rows = self._connection.execute("SELECT * FROM scripts WHERE used < times ORDER BY id")
        return [Script(**(dict(row) | {"steps": tuple(json.loads(row["steps"]))})) for row in rows]

    def use_script(self, script_id: int) -> None:
        """Counts one use."""
        self._connection.execute("UPDATE scripts SET used = used + 1 WHERE id = ?", (script_id,))

    def clear_scripts(self) -> None:
        """Deletes all scripts; the positions of prompts stay."""
        self._connection.execute("DELETE FROM scripts")

    def advance_prompt(self, prompt_digest: str) -> int:
        """Returns how many creates with this prompt came before, and counts this one."""
        return self._number(ADVANCE_PROMPT, prompt_digest) - 1

    # Signed links and uploads

    def add_link(self, token: str, path: str, expires_ms: int) -> None:
        """Adds a signed link to a result's path."""
        self._connection.execute("INSERT INTO links VALUES (?, ?, ?)", (token, path, expires_ms))

    def link(self, token: str, now_ms: int) -> str:
        """Reads the path behind a link that has not expired; empty when there is none."""
        row = self._row("SELECT path FROM links WHERE token = ? AND expires_ms > ?", token, now_ms)
        return str(row["path"]) if row else ""

    def put_upload(self, upload: Upload) -> None:
        """Writes an upload; the same path overwrites, as on KIE."""
        self._connection.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(upload))

    def upload(self, path: str, now_ms: int) -> Upload | None:
        """Reads the upload at a path, unless it expired."""
        row = self._row("SELECT * FROM uploads WHERE path = ? AND expires_ms > ?", path, now_ms)
        return Upload(**dict(row)) if row else None

    # Request log, counters, switches, the clock's offset

    def add_request(self, at_ms: int, method: str, path: str, code: int | None, status: int) -> None:
        """Logs a request and deletes all but the newest KEPT_REQUESTS."""
        self._connection.execute(INSERT_REQUEST, (at_ms, method, path, code, status))
        self._connection.execute(PRUNE_REQUESTS, (KEPT_REQUESTS,))

    def requests(self, path: str, limit: int) -> list[Json]:
        """Reads the newest requests whose path begins so, newest first."""
        return [dict(row) for row in self._connection.execute(REQUESTS, {"path": path, "limit": limit})]

    def next_request_number(self) -> int:
        """Counts one more create call."""
        return self._number(ADD_TO_FACT, "creates", 1)

    def clock_offset_ms(self) -> int:
        """Reads how far the clock was put forward."""
        return int(self._fact("offset_ms") or 0)

    def advance_clock(self, milliseconds: int) -> None:
        """Puts the clock forward."""
        self._number(ADD_TO_FACT, "offset_ms", milliseconds)

    def switches(self) -> Switches:
        """Reads how replies are written now."""
        return Switches(**json.loads(self._fact("switches") or "{}"))

    def set_switches(self, switches: Switches) -> None:
        """Changes how replies are written."""
        text = json.dumps(asdict(switches))
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('switches', ?)", (text,))

    def _fact(self, name: str) -> str | None:
        row = self._row("SELECT value FROM facts WHERE name = ?", name)
        return row["value"] if row else None

    def _row(self, query: str, *values: object) -> Any:
        """The first row of a query, a sqlite3.Row, or None."""
        return self._connection.execute(query, values).fetchone()

    def _number(self, query: str, *values: object) -> int:
        return int(self._connection.execute(query, values).fetchone()[0])


class Clock:
    """The sandbox's time: the system's clock plus the stored offset, which the control routes add to."""

    def __init__(self, store: Store, system_ms: Callable[[], int]) -> None:
        self._store = store
        self._system_ms = system_ms

    def now_ms(self) -> int:
        """The time now, in milliseconds since 1970."""
        return self._system_ms() + self._store.clock_offset_ms()


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Opens sandbox.sqlite3 in a folder, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "sandbox.sqlite3", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(SCHEMA)
        yield Store(connection)


def _to_hundredths(amount: Decimal) -> int:
    return int(amount / HUNDREDTH)


def _task_of(row: sqlite3.Row) -> Task:
    return Task(
        id=row["id"],
        account=row["account"],
        spec=_spec_of(row["draft"]),
        step=parse(row["step"]),
        create_ms=row["create_ms"],
        complete_ms=row["complete_ms"],
        request_number=row["request_number"],
    )


def _spec_of(text: str) -> TaskSpec:
    """Reads a spec back from its column; JSON has neither tuples nor decimals."""
    fields = json.loads(text)
    exact = {"images": tuple(fields["images"]), "ratio": tuple(fields["ratio"]), "credits": Decimal(fields["credits"])}
    return TaskSpec(**(fields | exact))
