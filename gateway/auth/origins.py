"""Judges which page sent a request: browsers add cookies and reach this machine for any page (CSRF, rebinding)."""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SAME_ORIGIN = "same-origin"
TYPED = "none"  # of Sec-Fetch-Site: no page asked, a person did


def own_page(request: Request, origins: Collection[str]) -> bool:
    """Whether a page of these origins sent it, proved by Origin, or by Sec-Fetch-Site where there is no Origin."""
    origin = request.headers.get("origin", "")
    return origin in origins if origin else request.headers.get("sec-fetch-site", "") == SAME_ORIGIN


def local_page(request: Request, origins: Collection[str]) -> bool:
    """Whether no page sent it, or one that this machine serves, or one of these origins.

    A browser says from where a request comes that changes something or whose answer a page may read.
    """
    origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site", "")
    if origin:
        return origin in origins or local_name(urlsplit(origin).hostname)
    return request.method in SAFE or site in ("", TYPED, SAME_ORIGIN)


def local_host(request: Request) -> bool:
    """Whether the name under which it came is this machine's own: a name that others chose may be rebound to us."""
    try:
        return local_name(urlsplit(f"//{request.headers.get('host', '')}").hostname)
    except ValueError:
        return False


def local_name(host: str | None) -> bool:
    """Whether a host is localhost, a name below it, or a loopback address; no others can own these."""
    if not host:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
