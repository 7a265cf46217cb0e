"""Page tokens that a front end may treat as a number, and pages that fit into one message."""

import re
import zlib
from collections.abc import Sequence

from services.chassis.errors import InvalidArgument
from services.share.model import NEWEST, Share, View

CHECK = 100_000  # five digits that bind a token to its list; the sequence before them stays far below 2^53 / CHECK
TOKEN = re.compile(r"[1-9][0-9]{5,15}", re.ASCII)
MAX_PAGE_BYTES = 3_000_000  # below the 4 MiB of a message: a page of the longest prompts ends early instead of failing


def token(view: View, sequence: int) -> str:
    """The token of the page that begins below a sequence."""
    return str(sequence * CHECK + _check(view, sequence))


def sequence_of(view: View, page_token: str) -> int:
    """The sequence below which the page of a token begins.

    Raises:
        InvalidArgument: the token is not ours, or belongs to another list.
    """
    if not page_token:
        return NEWEST
    if TOKEN.fullmatch(page_token):
        sequence, check = divmod(int(page_token), CHECK)
        if check == _check(view, sequence):
            return sequence
    raise InvalidArgument(
        "This is not how a page of this list goes on. Start again from its first page.",
        "INVALID_PAGE_TOKEN",
        metadata={"field": "page_token"},
    )


def fitting(shares: Sequence[Share]) -> tuple[Share, ...]:
    """The first shares that fit into one message; at least one, if there is one."""
    size, kept = 0, 0
    for share in shares:
        size += share.weight
        if kept and size > MAX_PAGE_BYTES:
            break
        kept += 1
    return tuple(shares[:kept])


def _check(view: View, sequence: int) -> int:
    return zlib.crc32(f"{view}:{sequence}".encode()) % CHECK
