"""Turns object keys into public URLs and back, so that rows hold keys and never URLs that can move."""

from services.chassis.names import is_key
from services.chassis.outbound import DEFAULT_PORTS, WEB_URL, origin_of

DEFAULT = 0  # stands for the default port of either scheme: an edge answers on both


class PublicFiles:
    """The public side of storage: one base URL, keys below it; under the others the same keys are found too."""

    def __init__(self, base_url: str, *others: str) -> None:
        self._base = base_url.rstrip("/")
        self._roots = tuple(_root(base.rstrip("/")) for base in (base_url, *others))

    def uri(self, key: str) -> str:
        """The URL at which the public finds a key; empty for an empty key."""
        return f"{self._base}/{key}" if key else ""

    def key(self, uri: str) -> str:
        """The key that one of our own URLs names; empty when the URL is not ours.

        How it is spelt does not matter: the case of the host, http for https, a default port, a query, a fragment.
        """
        authority, path = _root(uri)
        for own, base in self._roots:
            key = path.removeprefix(f"{base}/")
            if own == authority and key != path and is_key(key):
                return key
        return ""


def _root(uri: str) -> tuple[tuple[str, int], str]:
    """Host and port, and the path; empty ones for what is no web address."""
    found, origin = WEB_URL.fullmatch(uri), origin_of(uri)
    if not found or not origin:
        return ("", DEFAULT), ""
    port = DEFAULT if origin.effective_port == DEFAULT_PORTS[origin.scheme] else origin.effective_port
    return (origin.host.rstrip("."), port), found["path"]
