"""Tables of the request log and of small facts: counters, the clock's offset, the switches."""

import json
import sqlite3
from dataclasses import asdict

from services.sandbox.model import Json, Switches

KEPT_REQUESTS = 10_000  # enough to look back over a load test, little enough to stay a few megabytes

NOTE = "INSERT INTO requests (at_ms, method, path, code, status) VALUES (?, ?, ?, ?, ?)"
FORGET = "DELETE FROM requests WHERE id <= (SELECT MAX(id) FROM requests) - ?"
READ = """
SELECT at_ms, method, path, code, status FROM requests WHERE substr(path, 1, length(:path)) = :path
ORDER BY id DESC LIMIT :limit"""
BUMP = """
INSERT INTO facts (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value"""


class SqliteNotebook:
    """Keeps the promises of ports.Notebook."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def note_request(self, at_ms: int, method: str, path: str, code: int | None, status: int) -> None:
        """Log a request and forget the oldest."""
        self._connection.execute(NOTE, (at_ms, method, path, code, status))
        self._connection.execute(FORGET, (KEPT_REQUESTS,))

    def requests(self, path: str, limit: int) -> list[Json]:
        """Read the newest requests, newest first."""
        return [dict(row) for row in self._connection.execute(READ, {"path": path, "limit": limit})]

    def next_request_number(self) -> int:
        """Count one more create call."""
        return self._bump("creates", 1)

    def offset_ms(self) -> int:
        """Read how far the clock was put forward."""
        return int(self._fact("offset_ms") or 0)

    def add_offset(self, milliseconds: int) -> None:
        """Put the clock forward."""
        self._bump("offset_ms", milliseconds)

    def switches(self) -> Switches:
        """Read how replies are worded now."""
        return Switches(**json.loads(self._fact("switches") or "{}"))

    def set_switches(self, switches: Switches) -> None:
        """Change how replies are worded."""
        text = json.dumps(asdict(switches))
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('switches', ?)", (text,))

    def _fact(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row["value"] if row else None

    def _bump(self, name: str, by: int) -> int:
        return int(self._connection.execute(BUMP, (name, by)).fetchone()[0])
