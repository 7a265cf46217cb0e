"""The SQL stores of generation: SQLAlchemy Core, the same statements on SQLite and PostgreSQL."""
