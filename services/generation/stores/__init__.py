"""Where generations and keys are kept: on SQLAlchemy Core, the same statements on SQLite and PostgreSQL."""

from services.generation.stores.census import SqlCensus
from services.generation.stores.keys import open_keys
from services.generation.stores.mail import SqlInbox
from services.generation.stores.retention import SqlRetention
from services.generation.stores.sql import SqlStore

__all__ = ["SqlCensus", "SqlInbox", "SqlRetention", "SqlStore", "open_keys"]
