"""Writes and reads page tokens: opaque, and bound to the filter they came from."""

import base64
import binascii
import json
from hashlib import sha256

from services.chassis.errors import InvalidArgument
from services.storage.model import Cursor, Filter

DEFAULT_SIZE, MAX_SIZE = 50, 1000  # AIP-158: too large is coerced
DIGEST_LENGTH = 8  # tells filters apart; a forged token shows nothing that its filter would not


def size_of(asked: int) -> int:
    """How many objects a page holds.

    Raises:
        InvalidArgument: the number is negative.
    """
    if asked < 0:
        raise InvalidArgument("page_size must not be negative.", metadata={"field": "page_size"})
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


def token_of(wanted: Filter, last: Cursor) -> str:
    """The token of the page that begins below an object."""
    text = json.dumps([_digest(wanted), last.create_ms, last.key])
    return base64.urlsafe_b64encode(text.encode()).decode()


def cursor_of(wanted: Filter, token: str) -> Cursor | None:
    """Where a page begins; None for the first.

    Raises:
        InvalidArgument: we did not make the token, or made it for another filter.
    """
    if not token:
        return None
    try:
        digest, create_ms, key = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError):
        raise _foreign() from None
    if digest != _digest(wanted) or not isinstance(create_ms, int) or not isinstance(key, str):
        raise _foreign()
    return Cursor(create_ms, key)


def _digest(wanted: Filter) -> str:
    return sha256(f"{wanted.prefix}\0{wanted.generation_id}".encode()).hexdigest()[:DIGEST_LENGTH]


def _foreign() -> InvalidArgument:
    sentence = "page_token is not one of ours for this filter. Start again without it."
    return InvalidArgument(sentence, metadata={"field": "page_token"})
