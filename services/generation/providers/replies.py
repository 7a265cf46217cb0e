"""Reads KIE's replies: the outcome of a submit, a balance, and the record of a task.

The verdict is the `code` in the body, not the HTTP status (docs/provider.md#the-verdict). The families differ in where
a record holds its state; what they have in common is here: codes of tasks that are not shown, final codes, and result
URLs under many names.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from services.generation.outcomes import (
    Accepted,
    Ambiguous,
    Completed,
    InProgress,
    Later,
    NotVisible,
    Outcome,
    Record,
    Refused,
    Rejected,
    TaskFailed,
    Unreadable,
)

MAX_REPLY_BYTES = 262_144  # no honest reply comes near it
MAX_MESSAGE_LENGTH = 300  # of a provider's sentence that is shown or kept
MAX_TASK_ID_LENGTH = 128  # docs/provider.md#market-create: opaque, at most 64 characters seen

OK = 200
INVALID = 422
SERVER_ERROR = 500
# Refused, not billed, and worth another try with another key, account or time (docs/provider.md#codes-in-bodies).
REFUSALS = frozenset({401, 402, 429, 430, 433, 455, 505, 550})
# This order will never be taken (docs/provider.md#codes-in-bodies).
REJECTIONS = frozenset({400, 404, 422, 451})
# A 500 inside HTTP 200 with one of these says that the order is wrong, not that the server is
# (docs/provider.md#messages).
VALIDATION_WORDS = (
    "is required",
    "cannot be empty",
    "not supported",
    "temporarily paused",
    "tolerance",
    "exceeds the maximum",
    "must be",
)
# How the sentence begins (docs/provider.md#messages). Further on in a message the same words may be quoted from a
# prompt.
THROTTLED = re.compile(r"\s*(?:your\s+)?call frequency is too high\b", re.IGNORECASE)
MAX_NUMBER = 2**31 - 1  # what a column of the smallest integer type holds
# A task just created may be shown later; 200 without data alike (docs/provider.md#invisible-tasks).
NOT_VISIBLE = frozenset({OK, 404, 422})
OVER = frozenset({408, 501})  # silent for ten minutes, or finished and failed (docs/provider.md#codes-in-bodies)
FLAG_SUCCESS, FLAG_FAILED = 1, 2  # docs/provider.md#4o-record: 2 and above have failed
URL_NAMES = ("resultUrls", "result_urls", "resultImageUrl", "result_image_url", "imageUrl", "url")
MAX_URIS = 16  # no model makes more than six pictures
MAX_URI_LENGTH = 4_096  # a signed link has under one thousand
# Steps into a record: objects, and text that is JSON again; the deepest known takes four
# (docs/provider.md#market-record).
MAX_DEPTH = 8
NO_WORDS = "The upstream could not make the picture."


@dataclass(frozen=True)
class Reply:
    """A reply that is KIE's JSON: its effective code, message and data."""

    code: int
    message: str
    data: Any
    status: int
    retry_after: float | None = None
    task_id: str = ""
    coded: bool = True
    """False when the body has no code and the HTTP status stands in for it: then a CDN may have answered."""


@dataclass(frozen=True)
class NonJson:
    """A reply that is not KIE's JSON: a CDN's page, a truncated body, a wrong shape."""

    status: int
    excerpt: str


def decode(status: int, body: bytes, retry_after: str = "") -> Reply | NonJson:
    """Read a reply. Never raises."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return NonJson(status, body[:MAX_MESSAGE_LENGTH].decode(errors="replace"))
    code = number(document.get("code"))
    return Reply(
        code=status if code is None else code,
        message=sentence(document.get("msg") or document.get("message") or ""),
        data=document.get("data"),
        status=status,
        retry_after=seconds(retry_after),
        task_id=task_id_of(document),
        coded=code is not None,
    )


def number(value: Any) -> int | None:
    """A whole number that came as a number or as text; None for anything else, also when it fits no column."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        return None
    return whole if abs(whole) <= MAX_NUMBER else None


def sentence(value: Any) -> str:
    """A provider's words, short enough to keep and without the one character that PostgreSQL cannot hold.

    Nothing of an object or a list, which may be nested deeper than Python can write it out.
    """
    words = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
    return words.replace("\x00", "")[:MAX_MESSAGE_LENGTH]


def seconds(text: str) -> float | None:
    """A Retry-After in seconds; None when absent or odd."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def task_id_of(document: dict[str, Any]) -> str:
    """The task id of a create's reply: under data, or at the root as old callers saw it.

    See docs/provider.md#4o-create.
    """
    data = document.get("data")
    inner = data if isinstance(data, dict) else {}
    for value in (inner.get("taskId"), document.get("taskId")):
        if isinstance(value, str) and 0 < len(value) <= MAX_TASK_ID_LENGTH and value.isascii() and value.isprintable():
            return value
    return ""


def classify(reply: Reply | NonJson) -> Outcome:
    """The outcome of a submit by its reply. A reply that is no certain yes or no is Ambiguous: it is never re-sent."""
    match reply:
        case NonJson(status, _):
            return Ambiguous(f"HTTP {status} without JSON")
        case Reply(code=200, task_id=task_id) if task_id:
            return Accepted(task_id)
        case Reply(code=200):
            return Ambiguous("code 200 without a task id")
        case Reply(code=code, message=message) if code in REFUSALS or is_throttled(reply):
            return Refused(code, message, reply.retry_after)
        case Reply(code=code, message=message) if code in REJECTIONS or is_validation(reply):
            return Rejected(code, message or "The upstream refused the order.")
        case Reply(code=code, message=message):
            return Ambiguous(f"code {code}: {message}")


def balance_in(reply: Reply | NonJson) -> float | Refused | Later:
    """The balance in a reply (docs/provider.md#credits)."""
    match reply:
        case Reply(code=200, data=int() | float() as amount) if math.isfinite(amount):
            return float(amount)
        case Reply(code=code, message=message) if code in REFUSALS:
            return Refused(code, message, reply.retry_after)
        case Reply(code=code):
            return Later(f"code {code} without a balance")
        case NonJson(status, _):
            return Later(f"HTTP {status} without JSON")


def is_throttled(reply: Reply) -> bool:
    """True for a refusal by the sentence about call frequency: KIE's own code, no task, and its words first."""
    certain = reply.code in REJECTIONS or (reply.code == SERVER_ERROR and reply.status == OK)
    return reply.coded and certain and not reply.task_id and bool(THROTTLED.match(reply.message))


def is_validation(reply: Reply) -> bool:
    """True for a 500 that says, inside HTTP 200, that the order is wrong."""
    words = reply.message.lower()
    return reply.code == SERVER_ERROR and reply.status == OK and any(word in words for word in VALIDATION_WORDS)


def record_in(reply: Reply | NonJson | Later, read: Callable[[dict[str, Any]], Record]) -> Record:
    """A task's record from a reply; its family's `read` interprets the data.

    Only a body that has a code of KIE's can end a task: a page or a CDN's own JSON (HTTP 408, 501) proves nothing.
    """
    match reply:
        case Reply(code=200, data=dict() as data, coded=True):
            return read(data)
        case Later(detail):
            return Unreadable(detail)
        case NonJson(status=status) | Reply(coded=False, status=status):
            return Unreadable(f"HTTP {status} without a code of the provider's")
        case Reply(code=code, message=message) if code in OVER:
            return TaskFailed(code, message or NO_WORDS)
        case Reply(code=code) if code in NOT_VISIBLE:
            return NotVisible()
        case Reply(code=code):
            return Unreadable(f"code {code}", code)


def by_flag(data: dict[str, Any], uris: tuple[str, ...], *, failed: bool = False) -> Record:
    """The verdict of the families that carry successFlag; success without a URL is not success yet.

    See docs/provider.md#4o-record.
    """
    flag = number(data.get("successFlag")) or 0
    if flag == FLAG_SUCCESS and uris:
        return Completed(uris)
    if failed or flag >= FLAG_FAILED:
        return TaskFailed(number(data.get("errorCode")) or SERVER_ERROR, sentence(data.get("errorMessage")) or NO_WORDS)
    return InProgress(percent(data.get("progress")))


def percent(value: Any) -> int:
    """Progress as a percentage: KIE's 4o sends the fraction "0.48" as text, its Market whole percents."""
    try:
        fraction = float(value)
    except (TypeError, ValueError):
        return 0
    scaled = fraction * 100 if fraction <= 1 and not isinstance(value, int) else fraction
    return int(min(max(scaled, 0), 100)) if math.isfinite(scaled) else 0


def uris_in(*places: Any) -> tuple[str, ...]:
    """The result URLs, under whatever name and in whatever shape callers have seen, in order, each once."""
    return tuple(dict.fromkeys(uri for place in places for uri in _uris(place, MAX_DEPTH)))[:MAX_URIS]


def _uris(place: Any, steps: int) -> Iterator[str]:
    """The URLs in a value and at most `steps` levels below it: a record may be nested as deep as a parser allows."""
    match place:
        case str() if place.startswith(("http://", "https://")):
            yield from [place] if place.isprintable() and " " not in place and len(place) <= MAX_URI_LENGTH else []
        case str() if place[:1] in {"{", "["}:
            yield from _uris(_parsed(place), steps - 1) if steps else ()
        case list():
            for item in place:
                yield from _uris(item, steps - 1) if steps and isinstance(item, str) else ()
        case dict():
            for name in URL_NAMES:
                yield from _uris(place.get(name), steps - 1) if steps else ()


def is_foreign(reply: Reply | NonJson | Later, place: str, prompt: str) -> bool:
    """True when a record quotes the order it came from, and that has another prompt. White space does not count."""
    data = reply.data if isinstance(reply, Reply) and reply.coded and isinstance(reply.data, dict) else {}
    quoted = _prompt_in(data.get(place))
    return quoted is not None and quoted.split() != prompt.split()


def _prompt_in(order: Any) -> str | None:
    """The prompt of an order as text or object; the Market's lies below `input`, itself text or object.

    See docs/provider.md#market-record.
    """
    for _ in range(MAX_DEPTH):
        order = _parsed(order) if isinstance(order, str) else order
        if not isinstance(order, dict):
            return None
        if isinstance(prompt := order.get("prompt"), str):
            return prompt
        order = order.get("input")
    return None


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
