"""The purses' table; amounts are kept as whole hundredths of a credit, so that sums are exact."""

import json
import sqlite3
from decimal import Decimal

from services.sandbox.model import Account

HUNDREDTH = Decimal("0.01")

REFUNDED = "SELECT COALESCE(SUM(credits), 0) FROM ledger WHERE account = ? AND refund_ms <= ?"


def to_hundredths(amount: Decimal) -> int:
    """Scale an amount for its column."""
    return int(amount / HUNDREDTH)


def from_hundredths(number: int) -> Decimal:
    """Scale a column back to an amount."""
    return number * HUNDREDTH


class SqliteAccounts:
    """Keeps the promises of ports.Accounts."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def open(self, name: str, granted: str) -> None:
        """Add an account unless it exists."""
        self._connection.execute(
            "INSERT INTO accounts (name, granted) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (name, to_hundredths(Decimal(granted))),
        )

    def get(self, name: str, now_ms: int) -> Account:
        """Read an existing account with its refunds so far."""
        row = self._connection.execute("SELECT * FROM accounts WHERE name = ?", (name,)).fetchone()
        refunded = self._connection.execute(REFUNDED, (name, now_ms)).fetchone()[0]
        return Account(
            name=name,
            granted=from_hundredths(row["granted"]),
            spent=from_hundredths(row["spent"]),
            refunded=from_hundredths(refunded),
            revoked=bool(row["revoked"]),
            revoked_keys=tuple(json.loads(row["revoked_keys"])),
        )

    def set(self, account: Account) -> None:
        """Write what control may change."""
        self._connection.execute(
            "UPDATE accounts SET granted = ?, revoked = ?, revoked_keys = ? WHERE name = ?",
            (to_hundredths(account.granted), account.revoked, json.dumps(account.revoked_keys), account.name),
        )
