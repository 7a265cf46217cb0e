"""Tables of signed links and uploads."""

import sqlite3
from dataclasses import astuple

from services.sandbox.model import Upload

LINK = "SELECT path FROM links WHERE token = ? AND expires_ms > ?"
PUT = "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
UPLOAD = "SELECT * FROM uploads WHERE path = ? AND expires_ms > ?"


class SqliteShelf:
    """Keeps the promises of ports.Shelf."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_link(self, token: str, path: str, expires_ms: int) -> None:
        """Remember a signed link."""
        self._connection.execute("INSERT INTO links VALUES (?, ?, ?)", (token, path, expires_ms))

    def link(self, token: str, now_ms: int) -> str:
        """Read the path behind a link that still lives."""
        row = self._connection.execute(LINK, (token, now_ms)).fetchone()
        return str(row["path"]) if row else ""

    def put_upload(self, upload: Upload) -> None:
        """Remember an upload; its columns are the dataclass's fields in order."""
        self._connection.execute(PUT, astuple(upload))

    def upload(self, path: str, now_ms: int) -> Upload | None:
        """Read an upload that still lives."""
        row = self._connection.execute(UPLOAD, (path, now_ms)).fetchone()
        return Upload(**dict(row)) if row else None
