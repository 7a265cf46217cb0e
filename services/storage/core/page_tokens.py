"""Page tokens of object lists: opaque, and bound to their filter."""

import base64
import re
from hashlib import sha256

from services.chassis.errors import InvalidArgument
from services.storage.model import Cursor, Filter

DEFAULT_SIZE, MAX_SIZE = 50, 1000  # AIP-158: too large is coerced
DIGEST_LENGTH = 8  # tells filters apart; a forged token shows nothing that its filter would not
FORM = re.compile(r"(?P<digest>[0-9a-f]{8}):(?P<create_ms>[0-9]{1,15}):(?P<key>[A-Za-z0-9_./-]{1,512})")


def size_of(asked: int) -> int:
    """The page size to use; 0 gives the default.

    Raises:
        InvalidArgument: the number is negative.
    """
    if asked < 0:
        raise InvalidArgument("page_size must not be negative.", metadata={"field": "page_size"})
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


def token_of(wanted: Filter, last: Cursor) -> str:
    """The token of the page that begins below an object."""
    return base64.urlsafe_b64encode(f"{_digest(wanted)}:{last.create_ms}:{last.key}".encode()).decode()


def cursor_of(wanted: Filter, token: str) -> Cursor | None:
    """The cursor of a page token; None for the first page.

    Raises:
        InvalidArgument: the token is not ours, or belongs to another filter.
    """
    if not token:
        return None
    try:
        found = FORM.fullmatch(base64.urlsafe_b64decode(token).decode("ascii"))
    except ValueError:
        found = None
    if not found or found["digest"] != _digest(wanted):
        sentence = "page_token is not one of ours for this filter. Start again without it."
        raise InvalidArgument(sentence, metadata={"field": "page_token"})
    return Cursor(int(found["create_ms"]), found["key"])


def _digest(wanted: Filter) -> str:
    return sha256(f"{wanted.prefix}\0{wanted.generation_id}".encode()).hexdigest()[:DIGEST_LENGTH]
