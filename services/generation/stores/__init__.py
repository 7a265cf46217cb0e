"""The SQL stores of generation: SQLAlchemy Core, the same statements on SQLite and PostgreSQL."""

from services.chassis.database import Database
from services.chassis.parking import FaultStore, Parking
from services.generation.model import INBOX, LOOP_OF
from services.generation.stores.backlog import SqlBacklog
from services.generation.stores.generation_store import SqlGenerationStore
from services.generation.stores.inbox_store import SqlInbox
from services.generation.stores.key_pool_store import open_key_pool
from services.generation.stores.retention import SqlRetention
from services.generation.stores.tables import work_fault

__all__ = ["SqlBacklog", "SqlGenerationStore", "SqlInbox", "SqlRetention", "make_parking", "open_key_pool"]


def make_parking(database: Database) -> Parking:
    """The parking of generation's lease loops."""
    return Parking(FaultStore(database, work_fault), [*LOOP_OF.values(), INBOX])
