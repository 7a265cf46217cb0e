"""Keeps rendered answers to public reads in this process, and gives them again."""
