"""How many files, connections included, a process may open: shells allow a thousand, for which no server is made."""

import resource
from contextlib import suppress

ENOUGH = 131_072  # twice the connections that Envoy keeps; systems that allow any number reserve memory for each


def most_files() -> int:
    """How many files the system lets a process of this user open, at most ENOUGH."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if most == resource.RLIM_INFINITY else min(most, ENOUGH)


def allow_files() -> None:
    """Let this process, and all that it starts, open as many."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now == resource.RLIM_INFINITY or now >= most_files():
        return
    with suppress(OSError, ValueError):  # macOS has a bound of its own below the one that it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files(), most))
