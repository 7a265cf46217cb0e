"""Where generations and keys are kept: on SQLAlchemy Core, the same statements on SQLite and PostgreSQL."""

from services.chassis.database import Database
from services.chassis.parking import FaultStore, Parking
from services.generation.model import INBOX, LOOP_OF
from services.generation.stores.census import SqlCensus
from services.generation.stores.keys import open_keys
from services.generation.stores.mail import SqlInbox
from services.generation.stores.retention import SqlRetention
from services.generation.stores.sql import SqlStore
from services.generation.stores.tables import work_fault

__all__ = ["SqlCensus", "SqlInbox", "SqlRetention", "SqlStore", "make_parking", "open_keys"]


def make_parking(database: Database) -> Parking:
    """Where the work of generation's lease loops is parked."""
    return Parking(FaultStore(database, work_fault), [*LOOP_OF.values(), INBOX])
