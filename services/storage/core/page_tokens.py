"""Page tokens of object lists, bound to their filter."""

import re

from services.chassis.paging import PageTokens, digest_of
from services.storage.model import Cursor, Filter

MILLISECONDS, KEY = re.compile(r"[0-9]{1,15}"), re.compile(r"[A-Za-z0-9_./-]{1,512}")


def _cursor(create_ms: str, key: str) -> Cursor:
    if not MILLISECONDS.fullmatch(create_ms) or not KEY.fullmatch(key):
        raise ValueError(key)
    return Cursor(int(create_ms), key)


TOKENS = PageTokens(_cursor, separator=":", check=digest_of)


def token_of(wanted: Filter, last: Cursor) -> str:
    """The token of the page that begins below an object."""
    return TOKENS.token(_listing(wanted), str(last.create_ms), last.key)


def cursor_of(wanted: Filter, token: str) -> Cursor | None:
    """The cursor of a page token; None for the first page.

    Raises:
        InvalidArgument: the token is not ours, or belongs to another filter.
    """
    return TOKENS.position(_listing(wanted), token)


def _listing(wanted: Filter) -> bytes:
    return f"{wanted.prefix}\0{wanted.generation_id}".encode()
