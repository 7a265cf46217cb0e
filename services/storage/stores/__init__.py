"""The stores of storage: the rows of objects and upload links in SQL."""
