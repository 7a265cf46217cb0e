"""Draws one small round creature in a soft landscape, always the same for the same recipe."""
