"""Where the rows lie: one store speaks SQL to SQLite and PostgreSQL alike."""

from services.storage.stores.sql import SqlObjects

STORES = {"sql": SqlObjects}
