"""Where generations are kept: one store on SQLAlchemy Core, the same statements on SQLite and PostgreSQL."""
