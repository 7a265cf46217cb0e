"""Pages of lists: their sizes, the tokens that lead to the next page, and what fits into one message.

A token holds where the next page begins, and a check that binds it to its list: a token of another list, or of a list
filtered otherwise, is refused. The check keeps callers from mistakes, not from forgery; a forged token shows nothing
that its list would not. Tokens outlive releases (pages are open in browsers), so their bytes never change.
"""

import base64
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import Generic, TypeVar

from services.chassis.errors import InvalidArgument, invalid_field

MAX_PAGE_BYTES = 3_000_000  # below the 4 MiB of a message: a page of the longest prompts ends early instead of failing
DIGEST_LENGTH = 8  # hex digits, which tell lists apart
NUMBER_CHECK = 100_000  # five digits after the sequence, which stays far below 2^53 / NUMBER_CHECK
REASON = "INVALID_PAGE_TOKEN"  # of the error for a foreign token
NUMBER = re.compile(r"[1-9][0-9]{5,15}", re.ASCII)

E = TypeVar("E")
P = TypeVar("P")


def page_size(asked: int, default: int, most: int) -> int:
    """The page size to use: the default for 0, and `most` for more (AIP-158).

    Raises:
        InvalidArgument: the number is negative.
    """
    if asked < 0:
        raise invalid_field("page_size", "page_size must not be negative.")
    return min(asked, most) or default


def fitting(entries: Sequence[E], weight: Callable[[E], int]) -> tuple[E, ...]:
    """The first entries that fit into one message by their weights in bytes; at least one, if there is one."""
    fits = sum(size <= MAX_PAGE_BYTES for size in accumulate(map(weight, entries)))
    return tuple(entries[: max(1, fits)])


def page_of(found: Sequence[E], size: int, weight: Callable[[E], int]) -> tuple[tuple[E, ...], E | None]:
    """The page out of the first size + 1 entries of a list, and its last entry when other pages follow, else None."""
    shown = fitting(found[:size], weight)
    return shown, shown[-1] if len(found) > len(shown) else None


def foreign_token(reason: str = REASON) -> InvalidArgument:
    """The error for a page token that we did not make, or that belongs to another list."""
    return invalid_field(
        "page_token",
        "This is not how a page of this list goes on. Start again from its first page.",
        reason,
    )


def encoded(text: str) -> str:
    """A text as a token: base64 that may stand in a URL."""
    return base64.urlsafe_b64encode(text.encode()).decode()


def sum_of(listing: bytes, position: str) -> str:
    """A check over list and position, so that a token cut short is refused too."""
    return format(zlib.crc32(listing + f"|{position}".encode()), "08x")


def digest_of(listing: bytes, _position: str) -> str:
    """A check over the list alone."""
    return sha256(listing).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True)
class PageTokens(Generic[P]):
    """The tokens of one kind of list: the fields of a position, and a check before or behind them."""

    read: Callable[[str, str], P]
    """The position that two fields name. Raises ValueError for fields that name none."""
    separator: str = "|"
    """Between the fields; it may occur in the second field."""
    check: Callable[[bytes, str], str] = sum_of
    """The check for a list and the text of a position."""
    check_last: bool = False
    """Whether the check follows the fields."""
    reason: str = REASON
    """The reason of the error for a foreign token."""

    def token(self, listing: bytes, first: str, second: str) -> str:
        """The token of the page that begins after a position."""
        position = f"{first}{self.separator}{second}"
        check = self.check(listing, position)
        parts = (position, check) if self.check_last else (check, position)
        return encoded(self.separator.join(parts))

    def position(self, listing: bytes, page_token: str) -> P | None:
        """The position after which the page of a token begins; None for the first page.

        Raises:
            InvalidArgument: the token is not ours, or belongs to another list (`reason`).
        """
        if not page_token:
            return None
        try:
            text = base64.urlsafe_b64decode(page_token).decode()
            if self.check_last:
                position, _, check = text.rpartition(self.separator)
            else:
                check, _, position = text.partition(self.separator)
            if check == self.check(listing, position):
                first, _, second = position.partition(self.separator)
                return self.read(first, second)
        except ValueError:
            pass
        raise foreign_token(self.reason)


def number_token(listing: str, sequence: int) -> str:
    """A token that a front end may treat as a number: of the page that begins below a sequence."""
    return str(sequence * NUMBER_CHECK + _number_check(listing, sequence))


def sequence_of(listing: str, page_token: str) -> int | None:
    """The sequence below which the page of a number token begins; None for the first page.

    Raises:
        InvalidArgument: the token is not ours, or belongs to another list (reason INVALID_PAGE_TOKEN).
    """
    if not page_token:
        return None
    if NUMBER.fullmatch(page_token):
        sequence, check = divmod(int(page_token), NUMBER_CHECK)
        if check == _number_check(listing, sequence):
            return sequence
    raise foreign_token()


def _number_check(listing: str, sequence: int) -> int:
    return zlib.crc32(f"{listing}:{sequence}".encode()) % NUMBER_CHECK
