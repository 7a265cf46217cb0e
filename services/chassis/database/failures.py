"""Turns what drivers raise into our errors: which failures time heals, and which are mistakes in our statements."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.chassis.errors import Unavailable

# SQLSTATE classes that time heals: connections, a standby during failover, lost races, exhaustion, the operator.
PASSING_STATES = ("08", "25006", "40", "53", "57")
# SQLSTATEs of two transactions that met: a deadlock, a serialization failure, and a row that another one removed
# between our look and our reference to it; the last one has a name of SQLite's, too. The second try finds the other
# transaction done.
COLLISION_STATES = ("40P01", "40001", "23503", "SQLITE_CONSTRAINT_FOREIGNKEY")
COLLISION = "COLLISION"

logger = structlog.get_logger()


def away(cause: object = "") -> Unavailable:
    """The error of a database that cannot be reached or does not work at the moment."""
    logger.warning("database_away", cause=repr(cause))
    return Unavailable("The database is not reachable at the moment. Try again shortly.", retry_after=1)


def busy() -> Unavailable:
    """The error of a database whose queue is full, or in which a request has waited for too long."""
    logger.warning("database_busy")
    return Unavailable("The service is busier than it can bear at the moment. Try again shortly.", retry_after=1)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a driver raises when the database is away into Unavailable; mistakes in our statements pass."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:  # OSError: a name that does not resolve, a time that is up
        if state_of(error) in COLLISION_STATES:
            logger.warning("transactions_collided", state=state_of(error))
            raise Unavailable("Others changed the same at this moment. Try again.", COLLISION, retry_after=1) from error
        if isinstance(error, DBAPIError) and not _passes(error):
            raise
        raise away(getattr(error, "orig", error)) from error


def _passes(error: DBAPIError) -> bool:
    """Whether waiting may help. SQLite's driver and PostgreSQL's name such failures differently."""
    unreachable = isinstance(error, OperationalError) or error.connection_invalidated
    gone = isinstance(error, InterfaceError) and "number of query arguments" not in str(error.orig)  # that one is ours
    return unreachable or gone or state_of(error).startswith(PASSING_STATES)


def state_of(error: BaseException) -> str:
    """The SQLSTATE of a driver's error, on SQLite the name of its code; empty when there is neither."""
    origin = getattr(error, "orig", None) or error
    return str(getattr(origin, "sqlstate", None) or getattr(origin, "sqlite_errorname", None) or "")
