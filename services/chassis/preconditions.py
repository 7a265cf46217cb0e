"""Reads conditional and range requests as RFC 9110 has them, for every part of the stack that sends bytes.

The only validator is a strong ETag. Without Last-Modified the conditions by date are ignored (13.1.3, 13.1.4), and a
date in If-Range never holds. Header values are passed as one text, several lines of a header joined by commas.
"""

import re
from collections.abc import Callable
from http import HTTPStatus

from services.chassis.errors import FailedPrecondition, OutOfRange

Headers = Callable[[str], str]
"""The value of a header by its lower-case name; empty when it was not sent."""

ETAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')  # 8.8.3
RANGES = re.compile(r"\s*bytes=(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)  # 14.1: units are case-insensitive
SPAN = re.compile(r"(\d*)-(\d*)", re.ASCII)
MOST_DIGITS = 18  # more than the size of any object has; int() refuses 4,301 digits
ANY = "*"
READS = ("GET", "HEAD")


def check(method: str, headers: Headers, etag: str) -> HTTPStatus | None:
    """Return 304 when the client holds what would be sent, else None: the request goes on.

    Raises:
        FailedPrecondition: the client wants other bytes than there are (reason PRECONDITION_FAILED).
    """
    if (wanted := headers("if-match")) and not matches(wanted, etag, weak=False):
        raise changed()
    if (held := headers("if-none-match")) and matches(held, etag):
        if method in READS:
            return HTTPStatus.NOT_MODIFIED
        raise changed()
    return None


def matches(given: str, etag: str, *, weak: bool = True) -> bool:
    """Whether a list of ETags names this one; a weak one never does in a strong comparison (8.8.3.2)."""
    if given.strip() == ANY:
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in ETAG.findall(given))


def part(method: str, headers: Headers, etag: str, size: int) -> range | None:
    """Return the one part of `size` bytes that a request wants, to be sent with 206; None for the whole, with 200.

    Several parts are answered with the whole, which a server may do (14.2); so are unknown units and broken syntax.

    Raises:
        OutOfRange: none of the parts lies within the bytes (reason RANGE_NOT_SATISFIABLE, metadata `size`).
    """
    given = RANGES.fullmatch(headers("range")) if method == "GET" else None
    condition = headers("if-range").strip()
    if given is None or (condition and condition != etag):
        return None
    wanted = [SPAN.fullmatch(each.strip()) for each in given[1].split(",") if each.strip()]
    spans = [span(found[1], found[2], size) for found in wanted if found]
    if not spans or len(spans) < len(wanted) or None in spans:
        return None
    satisfiable = [each for each in spans if each]
    if not satisfiable and size:
        raise OutOfRange(
            "The file ends before the range begins.", "RANGE_NOT_SATISFIABLE", metadata={"size": str(size)}
        )
    return satisfiable[0] if len(satisfiable) == 1 else None


def span(first: str, last: str, size: int) -> range | None:
    """The bytes from first to last, or the last ones when `first` is empty; None for broken syntax."""
    start, end = number(first), number(last)
    if start is None:
        return None if end is None else range(max(size - end, 0), size)
    if end is not None and end < start:
        return None
    return range(start, size if end is None else min(end + 1, size))


def number(digits: str) -> int | None:
    """What the digits say; beyond any object when they are too many."""
    if not digits:
        return None
    return int(digits) if len(digits) <= MOST_DIGITS else int("9" * MOST_DIGITS)


def changed() -> FailedPrecondition:
    """The error for a condition that does not hold."""
    return FailedPrecondition(
        "The file is not the one that the request's conditions name. Read it again.", "PRECONDITION_FAILED"
    )


def of_part(wanted: range, size: int) -> dict[str, str]:
    """The header of a 206."""
    return {"Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{size}"}
