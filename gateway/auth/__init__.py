"""Tells who calls: verified tokens become people; nothing else in the gateway reads a token."""
