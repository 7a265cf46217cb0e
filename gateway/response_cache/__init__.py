"""Caches rendered responses to public reads of shares in this process."""
