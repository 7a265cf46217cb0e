"""Tables of the scripts laid down by control, and of how often each prompt's own script was used."""

import json
import sqlite3

from services.sandbox.model import Script

ADD = "INSERT INTO scripts (account, family, prompt_contains, steps, times) VALUES (?, ?, ?, ?, ?)"
ADVANCE = """
INSERT INTO positions (prompt_digest, used) VALUES (?, 1)
ON CONFLICT (prompt_digest) DO UPDATE SET used = used + 1 RETURNING used"""


def script_of_row(row: sqlite3.Row) -> Script:
    """Read a script's row."""
    return Script(
        id=row["id"],
        account=row["account"],
        family=row["family"],
        prompt_contains=row["prompt_contains"],
        steps=tuple(json.loads(row["steps"])),
        times=row["times"],
        used=row["used"],
    )


class SqliteScripts:
    """Keeps the promises of ports.Scripts."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, script: Script) -> None:
        """Lay down a script."""
        steps = json.dumps(script.steps)
        values = (script.account, script.family, script.prompt_contains, steps, script.times)
        self._connection.execute(ADD, values)

    def pending(self) -> list[Script]:
        """Read the scripts with uses left, oldest first."""
        rows = self._connection.execute("SELECT * FROM scripts WHERE used < times ORDER BY id")
        return [script_of_row(row) for row in rows]

    def use(self, script_id: int) -> None:
        """Count one use."""
        self._connection.execute("UPDATE scripts SET used = used + 1 WHERE id = ?", (script_id,))

    def clear(self) -> None:
        """Forget all scripts."""
        self._connection.execute("DELETE FROM scripts")

    def advance(self, prompt_digest: str) -> int:
        """Count a create with this prompt and return how many came before."""
        row = self._connection.execute(ADVANCE, (prompt_digest,)).fetchone()
        return int(row[0]) - 1
