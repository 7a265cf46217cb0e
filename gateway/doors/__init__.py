"""The front doors, one module or package for each family of callers."""
