"""CORS origins: the pages that may call us from a browser, one type of setting for the gateway and Envoy."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from services.chassis.names import host_of

ANY_ORIGIN = ("*",)
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
ORIGIN = re.compile(r"https?://[^\s/?#@,A-Z]+")  # as browsers write it; another spelling would never match theirs


def split(value: object) -> object:
    """The parts of a comma list."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def check(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no browser would send. Raises ValueError."""
    if origins != ANY_ORIGIN and not all(map(ORIGIN.fullmatch, origins)):
        message = (
            "give `*` alone, or origins such as https://example.com, in lower case, without a path, comma separated"
        )
        raise ValueError(message)
    return origins


def is_only_https(origin: str) -> bool:
    """Whether browsers may be told (HSTS) never to ask a site's host without TLS again.

    Not of this machine's own names, under which people run other programs.
    """
    return origin.startswith("https://") and host_of(origin) not in LOOPBACK_HOSTS


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split), AfterValidator(check)]
