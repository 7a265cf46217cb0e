"""The lease loops whose work may be parked, and the sentence for the owner of parked work."""

ORDERS, DELETIONS, EVENTS = "orders", "deletions", "events"
LOOPS = (ORDERS, DELETIONS)
"""Loops that park. An event that fails is not parked itself: its order is due, and the loop of orders takes it up."""
PARKED = "PARKED"
SENTENCE = "A fault of this site keeps your order from being carried on. It is tried again once that is mended."
