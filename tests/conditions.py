"""Conditional and range requests with the answers that RFC 9110 has for them, for whoever sends bytes."""

from dataclasses import dataclass

import httpx

TAG, OTHER = "{etag}", '"another"'  # TAG stands for the validator of the bytes
SIZE = 5000


@dataclass(frozen=True)
class Case:
    """A request for SIZE bytes, the status of its answer, and which bytes it carries."""

    title: str
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    span: slice | None = None
    method: str = "GET"

    def sent(self, etag: str) -> list[tuple[bytes, bytes]]:
        """The headers, once the validator is known."""
        return [(name.encode(), value.replace(TAG, etag).encode()) for name, value in self.headers]


def case(title: str, status: int, span: slice | None = None, method: str = "GET", **headers: str | list[str]) -> Case:
    """A row; a header of several lines is a list."""
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    each = [(name, one) for name, value in lines for one in ([value] if isinstance(value, str) else value)]
    return Case(title, status, tuple(each), span, method)


ALL = slice(0, SIZE)
CASES = [
    case("nothing is asked", 200, ALL),
    case("If-Match names it", 200, ALL, if_match=TAG),
    case("If-Match names it among others", 200, ALL, if_match=f"{OTHER}, {TAG}"),
    case("If-Match is any", 200, ALL, if_match="*"),
    case("If-Match names another", 412, if_match=OTHER),
    case("If-Match is weak", 412, if_match=f"W/{TAG}"),
    case("If-Match is nonsense", 412, if_match="x"),
    case("If-None-Match names it", 304, if_none_match=TAG),
    case("If-None-Match names it weakly", 304, if_none_match=f"W/{TAG}"),
    case("If-None-Match names it in a second line", 304, if_none_match=[OTHER, TAG]),
    case("If-None-Match is any", 304, if_none_match="*"),
    case("If-None-Match names another", 200, ALL, if_none_match=OTHER),
    case("If-None-Match is nonsense", 200, ALL, if_none_match="x"),
    case("If-Match goes before If-None-Match", 412, if_match=OTHER, if_none_match=TAG),
    case("both conditions hold", 304, if_match=TAG, if_none_match=TAG),
    case("a date is no validator of ours", 200, ALL, if_modified_since="Wed, 01 Jan 2098 00:00:00 GMT"),
    case(
        "nor is one before which it must not have changed",
        200,
        ALL,
        if_unmodified_since="Thu, 01 Jan 1970 00:00:00 GMT",
    ),
    case("304 goes before a range", 304, if_none_match=TAG, range="bytes=0-9"),
    case("412 goes before a range", 412, if_match=OTHER, range="bytes=9999-"),
    case("the first bytes", 206, slice(0, 100), range="bytes=0-99"),
    case("one byte", 206, slice(0, 1), range="bytes=0-0"),
    case("the rest", 206, slice(4990, SIZE), range="bytes=4990-"),
    case("the last bytes", 206, slice(4990, SIZE), range="bytes=-10"),
    case("more last bytes than there are", 206, ALL, range="bytes=-9999"),
    case("beyond the end", 206, slice(4990, SIZE), range="bytes=4990-99999"),
    case("an end of many digits", 206, slice(1, SIZE), range=f"bytes=1-{'9' * 5000}"),
    case("a unit in capitals", 206, slice(0, 10), range="BYTES=0-9"),
    case("spaces and empty elements", 206, slice(0, 10), range="bytes= , 0-9 ,"),
    case("one of two parts is there", 206, slice(0, 10), range="bytes=0-9, 6000-"),
    case("a start beyond the end", 416, range="bytes=5000-"),
    case("a start of many digits", 416, range=f"bytes={'9' * 5000}-"),
    case("no last bytes", 416, range="bytes=-0"),
    case("no part is there", 416, range="bytes=5000-, -0"),
    case("two parts", 200, ALL, range="bytes=0-9,20-29"),
    case("an unknown unit", 200, ALL, range="pictures=0-9"),
    case("an unknown unit beyond the end", 200, ALL, range="pictures=9999-"),
    case("no unit", 200, ALL, range="0-9"),
    case("an end before its start", 200, ALL, range="bytes=9-0"),
    case("a dash alone", 200, ALL, range="bytes=-"),
    case("no part at all", 200, ALL, range="bytes="),
    case("letters", 200, ALL, range="bytes=a-b"),
    case("a good part beside a broken one", 200, ALL, range="bytes=0-9,b"),
    case("digits of another script", 200, ALL, range="bytes=\u0660-\u0669"),
    case("If-Range names it", 206, slice(0, 10), range="bytes=0-9", if_range=TAG),
    case("If-Range names another", 200, ALL, range="bytes=0-9", if_range=OTHER),
    case("If-Range is weak", 200, ALL, range="bytes=0-9", if_range=f"W/{TAG}"),
    case("If-Range is a date", 200, ALL, range="bytes=0-9", if_range="Wed, 01 Jan 2098 00:00:00 GMT"),
    case("If-Range names another and the range is beyond", 200, ALL, range="bytes=9999-", if_range=OTHER),
    case("If-Range without a range", 200, ALL, if_range=OTHER),
    case("HEAD", 200, method="HEAD"),
    case("HEAD has no ranges", 200, method="HEAD", range="bytes=0-9"),
    case("HEAD of a range beyond the end", 200, method="HEAD", range="bytes=9999-"),
    case("HEAD and If-None-Match", 304, method="HEAD", if_none_match=TAG),
    case("HEAD and If-Match", 412, method="HEAD", if_match=OTHER),
]

CODES = {412: "PRECONDITION_FAILED", 416: "RANGE_NOT_SATISFIABLE"}
SHOWN = ("etag", "content-range", "content-length", "accept-ranges")


def found(case: Case, answer: httpx.Response) -> tuple[object, ...]:
    """What an answer says, to be compared with what it should."""
    refused = answer.status_code >= 400
    said = {name: answer.headers.get(name) for name in SHOWN if not (refused and name == "content-length")}
    body = answer.json()["code"] if refused and case.method != "HEAD" else answer.content
    return case.title, answer.status_code, body, said


def expected(case: Case, content: bytes, etag: str) -> tuple[object, ...]:
    """What the answer should say about this content."""
    said: dict[str, str | None] = dict.fromkeys(SHOWN)
    body: object = content[case.span] if case.span else b""
    if case.status >= 400:
        del said["content-length"]
        said["content-range"] = f"bytes */{SIZE}" if case.status == 416 else None
        return case.title, case.status, b"" if case.method == "HEAD" else CODES[case.status], said
    said["etag"] = etag
    if case.status != 304:
        said["accept-ranges"], said["content-length"] = "bytes", str(len(content[case.span or ALL]))
    if case.status == 206 and case.span:
        said["content-range"] = f"bytes {case.span.start}-{case.span.stop - 1}/{SIZE}"
    return case.title, case.status, body, said
