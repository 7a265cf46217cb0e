"""What the families' task records have in common: codes of tasks not shown, final codes, and URLs under many names."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from services.generation.outcomes import Completed, InProgress, Later, NotVisible, Record, TaskFailed, Unreadable
from services.generation.providers.replies import OK, SERVER_ERROR, NonJson, Reply, number, sentence

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
