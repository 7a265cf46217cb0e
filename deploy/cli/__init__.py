"""The `kawaii` command of operators."""
