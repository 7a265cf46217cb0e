"""Turns object keys into public URLs and back, so that rows hold keys and never URLs that can move."""

from services.chassis.names import is_key


class PublicFiles:
    """The public side of storage: one base URL, keys below it."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/")

    def uri(self, key: str) -> str:
        """The URL at which the public finds a key; empty for an empty key."""
        return f"{self._base}/{key}" if key else ""

    def key(self, uri: str) -> str:
        """The key that one of our own URLs names; empty when the URL is not ours or carries a query."""
        if not uri.startswith(f"{self._base}/"):
            return ""
        key = uri.removeprefix(f"{self._base}/")
        return key if is_key(key) else ""
