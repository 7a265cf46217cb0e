"""Page tokens of artwork lists, bound to their list, and pages that fit into one message."""

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from itertools import accumulate

from services.chassis.errors import InvalidArgument
from services.chassis.names import ID
from services.community.model import After, ArtworkPage, Listing, Mark

SEPARATOR = "|"
MAX_PAGE_BYTES = 3_000_000  # below the 4 MiB of a message: a page of the longest prompts ends early instead of failing


def token(binding: str, value: float, identifier: str) -> str:
    """The token of the page that begins after an entry."""
    plain = f"{value!r}{SEPARATOR}{identifier}"
    return base64.urlsafe_b64encode(f"{_check(binding, plain)}{SEPARATOR}{plain}".encode()).decode()


def after_of(binding: str, page_token: str) -> After | None:
    """The value and id after which the page of a token begins; None for the first page.

    Raises:
        InvalidArgument: the token is not ours, or belongs to another list.
    """
    if not page_token:
        return None
    try:
        check, _, plain = base64.urlsafe_b64decode(page_token).decode().partition(SEPARATOR)
        value, _, identifier = plain.partition(SEPARATOR)
        if check == _check(binding, plain) and all(map(ID.fullmatch, identifier.split(" ", 1)[:1])):
            return _number(value), identifier
    except (ValueError, binascii.Error):
        pass
    raise InvalidArgument(
        "This is not how a page of this list goes on. Start again from its first page.",
        "INVALID_PAGE_TOKEN",
        metadata={"field": "page_token"},
    )


def page_of(listing: Listing, marks: Sequence[Mark], size: int) -> ArtworkPage:
    """A page of the first `size` of size + 1 entries, with the token of the next page."""
    shown = fitting(marks[:size])
    last = shown[-1] if len(marks) > len(shown) else None
    following = token(str(listing), last.value, last.card.artwork.id) if last else ""
    return ArtworkPage(tuple([mark.card for mark in shown]), following)


def fitting(marks: Sequence[Mark]) -> Sequence[Mark]:
    """The first entries that fit into one message; at least one, if there is one."""
    sizes = accumulate(mark.card.artwork.weight for mark in marks)
    return marks[: max(1, sum(size <= MAX_PAGE_BYTES for size in sizes))]


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _check(binding: str, plain: str) -> str:
    return format(zlib.crc32(f"{binding}{SEPARATOR}{plain}".encode()), "08x")
