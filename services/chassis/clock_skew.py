"""Measures the skew between this process's clock and the database's, for operators: no code may compare the two."""

import time
from collections.abc import Callable

from prometheus_client import Gauge
from sqlalchemy import select

from services.chassis.database import Database, Transaction, db_now

CLOCK = "clock"  # the part of a service's health that is its clock
MAX_SKEW_SECONDS = 5.0  # far above what NTP leaves and below every leeway for tokens and signatures
SKEW = Gauge("kawaii_clock_skew_seconds", "The database's clock minus this process's.")


class ClockSkew:
    """Compares two clocks whenever health is checked. `now` gives seconds since 1970 by this process."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    async def measure(self) -> float:
        """Seconds by which the database is ahead; the round trip counts half. Raises Unavailable."""
        seconds = await self._database.read(self._compare)
        SKEW.set(seconds)
        return seconds

    def _compare(self, transaction: Transaction) -> float:
        before = self._now()
        theirs = int(transaction.scalar(select(db_now())) or 0) / 1000
        return theirs - (before + self._now()) / 2

    async def ping(self) -> None:
        """As a part of health: degraded, not unready, while the clocks are apart.

        Raises:
            ClockSkewError: they are; the message says how far.
            Unavailable: the database is away.
        """
        seconds = await self.measure()
        if abs(seconds) > MAX_SKEW_SECONDS:
            raise ClockSkewError(
                f"The database's clock is {seconds:+.1f} s from this process's. Set both by NTP; tokens and signed "
                "links may be refused until then, and no work is lost."
            )


class ClockSkewError(Exception):
    """The clocks of process and database are too far apart."""
