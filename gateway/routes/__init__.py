"""The routes, one module or package for each family of callers."""
