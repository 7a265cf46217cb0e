"""Verification of KIE's callbacks: the signature covers task id and time, not the body, so only these count.

See docs/provider.md#signature.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from services.chassis.errors import InvalidArgument, Unauthenticated
from services.generation.providers.replies import number

TIMESTAMP_HEADER, SIGNATURE_HEADER = "x-webhook-timestamp", "x-webhook-signature"
WINDOW_SECONDS = 300  # KIE documents none; a captured pair is worthless after this
TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
PLACES = (("data", "taskId"), ("data", "task_id"), ("", "taskId"), ("", "task_id"))


class KieCallbackVerifier:
    """Verifies and reads KIE's callbacks. With keys each must be signed by one of them; without, none is checked."""

    def __init__(self, keys: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock

    def read(self, body: bytes, headers: Mapping[str, str]) -> tuple[str, int]:
        document = parsed(body)
        task_id = task_id_of(document)
        if self._keys:
            self._verify(task_id, headers)
        return task_id, number(document.get("code")) or 0

    def _verify(self, task_id: str, headers: Mapping[str, str]) -> None:
        stamp, given = headers.get(TIMESTAMP_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
        if not re.fullmatch(r"[0-9]{1,12}", stamp) or abs(self._clock() - int(stamp)) > WINDOW_SECONDS:
            raise Unauthenticated("The callback's timestamp is missing or stale.", "INVALID_SIGNATURE")
        genuine = [hmac.compare_digest(sign(key, task_id, stamp).encode(), given.encode()) for key in self._keys]
        if not any(genuine):
            raise Unauthenticated("The callback's signature is missing or wrong.", "INVALID_SIGNATURE")


def sign(key: str, task_id: str, timestamp: str) -> str:
    """KIE's signature: base64(HMAC-SHA256(key, taskId + "." + timestamp))."""
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def parsed(body: bytes) -> dict[str, Any]:
    """The body as an object. Raises InvalidArgument."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument("The callback is not JSON.") from error
    if not isinstance(document, dict):
        raise InvalidArgument("The callback is not a JSON object.")
    return document


def task_id_of(document: dict[str, Any]) -> str:
    """The one task id a callback names: signing one id and acting on another would be a way around the signature."""
    data = document.get("data")
    spaces = {"": document, "data": data if isinstance(data, dict) else {}}
    found = [spaces[space][name] for space, name in PLACES if spaces[space].get(name) is not None]
    if not found or not all(isinstance(value, str) and TASK_ID.fullmatch(value) for value in found):
        raise InvalidArgument("The callback names no valid task id.")
    if len(set(found)) != 1:
        raise InvalidArgument("The callback names different task ids.")
    return str(found[0])
