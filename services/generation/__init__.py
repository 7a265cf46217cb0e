"""Owns generations: orders for pictures, their attempts upstream, the callback inbox and the event outbox.

It never sends a billed request twice, never forgets an accepted order, and never keeps a picture's bytes itself.
"""
