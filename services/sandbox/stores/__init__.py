"""Where the stand-in remembers: one SQLite file, one module for each family of tables."""
