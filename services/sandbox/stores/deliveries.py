"""Tables of callbacks and of every try to send them, so that a restart goes on where the process died."""

import sqlite3

from services.sandbox.model import Delivery, Json, Outcome, Task

PAGE = 100  # more than the sender has in hand at once; the rest is read when these are done

PLAN = "INSERT INTO deliveries (task_id, success, due_ms) VALUES (?, ?, ?)"
DUE = "SELECT * FROM deliveries WHERE due_ms <= ? ORDER BY due_ms, id LIMIT ?"
NOTE = """
INSERT INTO attempts (task_id, delivery_id, number, success, at_ms, status, error) VALUES (?, ?, ?, ?, ?, ?, ?)"""
LOG = """
SELECT delivery_id, number, success, at_ms, status, error FROM attempts WHERE task_id = ? ORDER BY id"""


class SqliteDeliveries:
    """Keeps the promises of ports.Deliveries; a row without due_ms is over."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def plan(self, task: Task) -> None:
        """Add the task's callbacks in their order."""
        due = zip(task.verdicts(), task.callbacks_ms(), strict=True)
        rows = [(task.id, verdict, due_ms) for verdict, due_ms in due]
        self._connection.executemany(PLAN, rows)

    def add(self, task: Task, due_ms: int) -> None:
        """Add one more callback, the truth."""
        self._connection.execute(PLAN, (task.id, not task.life.failure, due_ms))

    def due(self, now_ms: int) -> list[Delivery]:
        """Read what is due, earliest first."""
        rows = self._connection.execute(DUE, (now_ms, PAGE))
        return [Delivery(r["id"], r["task_id"], bool(r["success"]), r["due_ms"], r["attempts"]) for r in rows]

    def next_due_ms(self, now_ms: int) -> int | None:
        """Read when the next one becomes due."""
        row = self._connection.execute("SELECT MIN(due_ms) FROM deliveries WHERE due_ms > ?", (now_ms,)).fetchone()
        due: int | None = row[0]
        return due

    def note(self, delivery: Delivery, outcome: Outcome, now_ms: int, retry_ms: int | None) -> None:
        """Log a try and set when the next is due."""
        number = delivery.attempts + 1
        ids = (delivery.task_id, delivery.id, number, delivery.success)
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            self._connection.execute(NOTE, (*ids, now_ms, outcome.status, outcome.error))
            self._connection.execute(
                "UPDATE deliveries SET attempts = ?, due_ms = ? WHERE id = ?", (number, retry_ms, delivery.id)
            )

    def log(self, task_id: str) -> list[Json]:
        """Read each try of a task's callbacks."""
        return [dict(row) | {"success": bool(row["success"])} for row in self._connection.execute(LOG, (task_id,))]

    def planned(self, task_id: str) -> int:
        """Count the task's deliveries, sent or not."""
        row = self._connection.execute("SELECT COUNT(*) FROM deliveries WHERE task_id = ?", (task_id,)).fetchone()
        return int(row[0])
