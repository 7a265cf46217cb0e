"""Authentication: verified tokens become users; nothing else in the gateway reads a token."""
