"""The object store by kind: SQL, on SQLite and PostgreSQL alike."""

from services.storage.stores.sql import SqlObjects

STORES = {"sql": SqlObjects}
