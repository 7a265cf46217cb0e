"""Reads the parameters that this family's routes share: ids in paths, limits, cursors.

Sign-in services may put a slash into a subject, but Envoy refuses %2F in paths, and a plain slash ends a segment. So a
user id that holds a slash is shown with "~2F" in its place.
"""

import re

from starlette.requests import Request

from gateway.rest import request_fields
from services.chassis.errors import invalid_field
from services.chassis.names import name

MAX_LIMIT, DEFAULT_LIMIT = 100, 20  # docs/rest.md#feed: anything else means the default
MAX_SUBJECT_LENGTH = 255  # of a person's id: OpenID Connect's bound for a subject
MAX_TOKEN_LENGTH = 1024  # of a cursor; ours are below 200

ESCAPED = re.compile("~(2F|7E)")
PLAIN = {"~2F": "/", "~7E": "~"}


def artwork_name(request: Request) -> str:
    """The resource name of the artwork in the path."""
    return name("artworks", path_id(request))


def path_id(request: Request) -> str:
    """The id in the path."""
    return request_fields.identifier("id", request.path_params["id"])


def user_id(request: Request) -> str:
    """The person in the path, as their sign-in service names them."""
    found = _subject(str(request.path_params["id"]))
    if len(found) > MAX_SUBJECT_LENGTH or not found.isprintable():
        raise invalid_field("id", "The path names no person.")
    return found


def limit(request: Request) -> int:
    """How many to list: 1 to 100, and 20 for everything else."""
    asked = request.query_params.get("limit", "")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 5 else 0  # noqa: PLR2004 - 9999 is enough
    return number if 1 <= number <= MAX_LIMIT else DEFAULT_LIMIT


def cursor(request: Request) -> str:
    """The cursor of the page before; empty for the first page."""
    found = request.query_params.get("cursor", "")
    if len(found) > MAX_TOKEN_LENGTH or not found.isascii() or not found.isprintable():
        raise invalid_field("cursor", "cursor must be the nextCursor of the page before.")
    return found


def shown_user_id(subject: str) -> str:
    """A person's id as clients see it: the subject itself, but for its slashes."""
    if "/" in subject or ESCAPED.search(subject):
        return subject.replace("~", "~7E").replace("/", "~2F")
    return subject


def _subject(identifier: str) -> str:
    """The subject that an id stands for."""
    return ESCAPED.sub(lambda found: PLAIN[found[0]], identifier)
