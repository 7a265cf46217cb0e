"""Tables of tasks, bills and results; a task's progress is never stored, it follows from its row and the clock."""

import json
import sqlite3
from dataclasses import asdict
from decimal import Decimal

from services.sandbox.model import Draft, Result, Task
from services.sandbox.steps import parse
from services.sandbox.stores.accounts import to_hundredths

INSERT_TASK = """
INSERT INTO tasks (id, account, prompt, draft, step, create_ms, complete_ms, request_number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
INSERT_BILL = "INSERT INTO ledger (task_id, account, credits, refund_ms) VALUES (?, ?, ?, ?)"
INSERT_RESULT = "INSERT INTO results (path, task_id, position, kind, expires_ms) VALUES (?, ?, ?, ?, ?)"
SEARCH = """
SELECT * FROM tasks WHERE (:prompt IS NULL OR prompt = :prompt) AND (:id IS NULL OR id = :id)
ORDER BY create_ms, rowid"""


def draft_text(draft: Draft) -> str:
    """Write a draft for its column."""
    return json.dumps(asdict(draft), default=str)


def draft_of(text: str) -> Draft:
    """Read a draft back; JSON knows neither tuples nor decimals."""
    fields = json.loads(text)
    exact = {"images": tuple(fields["images"]), "ratio": tuple(fields["ratio"]), "credits": Decimal(fields["credits"])}
    return Draft(**(fields | exact))


def task_of(row: sqlite3.Row) -> Task:
    """Read a task's row."""
    return Task(
        id=row["id"],
        account=row["account"],
        draft=draft_of(row["draft"]),
        step=parse(row["step"]),
        create_ms=row["create_ms"],
        complete_ms=row["complete_ms"],
        request_number=row["request_number"],
    )


def result_of(row: sqlite3.Row) -> Result:
    """Read a result's row."""
    return Result(row["path"], row["task_id"], row["position"], row["kind"], row["expires_ms"])


class SqliteTasks:
    """Keeps the promises of ports.Tasks."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, task: Task, results: list[Result], refund_ms: int | None) -> None:
        """Write task, bill and results, debit the account; the caller holds a transaction."""
        amount = to_hundredths(task.draft.credits)
        text, step = draft_text(task.draft), task.step.text
        times = (task.create_ms, task.complete_ms, task.request_number)
        self._connection.execute(INSERT_TASK, (task.id, task.account, task.draft.prompt, text, step, *times))
        self._connection.execute(INSERT_BILL, (task.id, task.account, amount, refund_ms))
        self._connection.execute("UPDATE accounts SET spent = spent + ? WHERE name = ?", (amount, task.account))
        rows = [(r.path, r.task_id, r.position, r.kind, r.expires_ms) for r in results]
        self._connection.executemany(INSERT_RESULT, rows)

    def get(self, task_id: str) -> Task | None:
        """Read a task."""
        row = self._connection.execute("SELECT * FROM tasks WHERE id = ?", (task_id,)).fetchone()
        return task_of(row) if row else None

    def count_since(self, account: str, since_ms: int) -> int:
        """Count the account's tasks created after a time."""
        row = self._connection.execute(
            "SELECT COUNT(*) FROM tasks WHERE account = ? AND create_ms > ?", (account, since_ms)
        ).fetchone()
        return int(row[0])

    def neighbour(self, task: Task, *, same_account: bool) -> str:
        """Read the newest other task's id."""
        owned = "=" if same_account else "!="
        query = f"SELECT id FROM tasks WHERE account {owned} ? AND id != ? ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - one of two operators
        row = self._connection.execute(query, (task.account, task.id)).fetchone()
        return str(row[0]) if row else ""

    def search(self, prompt: str | None, task_id: str | None) -> list[Task]:
        """Read the tasks that match, oldest first."""
        rows = self._connection.execute(SEARCH, {"prompt": prompt, "id": task_id})
        return [task_of(row) for row in rows]

    def results(self, task_id: str) -> list[Result]:
        """Read a task's files in the order of their position."""
        rows = self._connection.execute("SELECT * FROM results WHERE task_id = ? ORDER BY position", (task_id,))
        return [result_of(row) for row in rows]

    def result(self, path: str) -> Result | None:
        """Read the file at a path."""
        row = self._connection.execute("SELECT * FROM results WHERE path = ?", (path,)).fetchone()
        return result_of(row) if row else None

    def count_read(self, task_id: str) -> int:
        """Count one more record read."""
        row = self._connection.execute(
            "UPDATE tasks SET record_reads = record_reads + 1 WHERE id = ? RETURNING record_reads", (task_id,)
        ).fetchone()
        return int(row[0])
