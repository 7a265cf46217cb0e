"""Encodes user ids so that they fit into a path: sign-in services may put a slash into a subject.

Envoy refuses %2F in paths, and a plain slash ends a segment. So what holds a slash is shown with "~2F" in its place.
"""

import re

ESCAPED = re.compile("~(2F|7E)")
PLAIN = {"~2F": "/", "~7E": "~"}


def shown(subject: str) -> str:
    """A person's id as clients see it: the subject itself, but for its slashes."""
    if "/" in subject or ESCAPED.search(subject):
        return subject.replace("~", "~7E").replace("/", "~2F")
    return subject


def read(identifier: str) -> str:
    """The subject that an id stands for."""
    return ESCAPED.sub(lambda found: PLAIN[found[0]], identifier)
