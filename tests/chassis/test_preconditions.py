"""Conditions and ranges are read as RFC 9110 has them."""

from collections import defaultdict

import pytest

from services.chassis import preconditions
from services.chassis.errors import FailedPrecondition, OutOfRange
from tests.conditions import ALL, CASES, SIZE, Case

ETAG = '"0123"'


def asked(case: Case) -> preconditions.Headers:
    """The headers of a case; several lines of one header are one text."""
    lines = defaultdict(list)
    for name, value in case.sent(ETAG):
        lines[name.decode()].append(value.decode())
    return lambda name: ", ".join(lines[name])


def answer(case: Case) -> tuple[int, slice | None]:
    """Status and span, as a server would have them."""
    try:
        if status := preconditions.check(case.method, asked(case), ETAG):
            return status, None
        part = preconditions.part(case.method, asked(case), ETAG, SIZE)
    except FailedPrecondition as error:
        return 412 if error.reason == "PRECONDITION_FAILED" else 0, None
    except OutOfRange as error:
        shown = (error.reason, error.metadata)
        return 416 if shown == ("RANGE_NOT_SATISFIABLE", {"size": str(SIZE)}) else 0, None
    span = slice(part.start, part.stop) if part else ALL
    return 206 if part else 200, span if case.method == "GET" else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_request_has_the_answer_of_the_book(case: Case) -> None:
    assert answer(case) == (case.status, case.span)


def test_a_write_that_must_not_replace_anything_is_refused() -> None:
    with pytest.raises(FailedPrecondition):
        preconditions.check("PUT", {"if-match": "", "if-none-match": "*"}.__getitem__, ETAG)


def test_an_empty_object_has_no_parts() -> None:
    for given in ("bytes=0-", "bytes=-5", "bytes=-0"):
        assert preconditions.part("GET", {"if-range": "", "range": given}.__getitem__, ETAG, 0) is None


def test_a_part_says_where_it_lies() -> None:
    assert preconditions.of_part(range(10, 20), 5000) == {"Content-Range": "bytes 10-19/5000"}
