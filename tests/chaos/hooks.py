"""Webhooks, good and bad: the generator behind the hammer (docs/durable-core.md#callbacks)."""

import base64
import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from services.generation.providers.callback_verification import sign

SECRET = "the key of the hammer"
KIND = "image-generated"


@dataclass(frozen=True)
class Hook:
    """A webhook as it arrives."""

    task_id: str
    token: str
    body: bytes
    headers: dict[str, str]
    kind: str = KIND

    def signed(self, stamp: str, key: str = SECRET) -> "Hook":
        """The same under a signature of this time."""
        headers = {"x-webhook-timestamp": stamp, "x-webhook-signature": sign(key, self.task_id, stamp)}
        return replace(self, headers=headers)

    def saying(self, document: Any) -> "Hook":
        """The same with another body."""
        return replace(self, body=orjson.dumps(document))


def now(shift: int = 0) -> str:
    """A timestamp of this moment, or some seconds off."""
    return str(int(time.time()) + shift)


def good(number: int, code: int = 200) -> Hook:
    """The honest webhook of an attempt."""
    task_id = f"task{number:06}"
    body = orjson.dumps({"code": code, "msg": "success", "data": {"taskId": task_id, "info": {"result_urls": []}}})
    return Hook(task_id, f"att_hammer{number:06}.{secret_of(number)}", body, {}).signed(now())


def secret_of(number: int) -> str:
    """The secret half of an attempt's token."""
    return hashlib.sha256(f"secret {number}".encode()).hexdigest()[:32]


def headed(hook: Hook, **headers: str | None) -> Hook:
    """The same with a header changed, or taken away."""
    changed = {**hook.headers, **{f"x-webhook-{name}": value for name, value in headers.items()}}
    return replace(hook, headers={name: value for name, value in changed.items() if value is not None})


def hexed(hook: Hook) -> Hook:
    """A signature in hex, where base64 belongs."""
    return headed(hook, signature=base64.b64decode(hook.headers["x-webhook-signature"]).hex())


def restamped(hook: Hook, stamp: str) -> Hook:
    """A captured signature under another time."""
    return headed(hook, timestamp=stamp)


BAD: Sequence[Callable[[Hook], Hook]] = (
    lambda hook: replace(hook, headers={}),
    lambda hook: headed(hook, signature=None),
    lambda hook: headed(hook, timestamp=None),
    lambda hook: headed(hook, signature=""),
    lambda hook: headed(hook, signature=hook.headers["x-webhook-signature"][:-4]),
    hexed,
    lambda hook: hook.signed(now(), "another key"),
    lambda hook: hook.signed(now(), ""),
    lambda hook: hook.signed(now(-302)),
    lambda hook: hook.signed(now(+360)),
    lambda hook: hook.signed("-" + now()),
    lambda hook: hook.signed(now() + ".5"),
    lambda hook: hook.signed("9" * 40),
    lambda hook: hook.signed("soon"),
    lambda hook: restamped(hook.signed(now(-900)), now()),
    lambda hook: replace(hook.signed(now()), body=good(random.randrange(900_000, 999_999)).body),
    lambda hook: hook.saying({"code": 200, "taskId": "other", "data": {"taskId": hook.task_id}}),
    lambda hook: hook.saying({"code": 200, "data": {"taskId": hook.task_id, "task_id": "other"}}),
    lambda hook: hook.saying({"code": 200, "data": {"taskId": [hook.task_id]}}),
    lambda hook: hook.saying({"code": 200, "data": {"inner": {"taskId": hook.task_id}}}),
    lambda hook: hook.saying({"code": 200, "data": [{"taskId": hook.task_id}]}),
    lambda hook: hook.saying({"code": 200, "data": {"taskId": hook.task_id * 1000}}),
    lambda hook: hook.saying({"code": 200, "data": {"taskId": f"{hook.task_id}.1"}}),
    lambda hook: hook.saying([hook.task_id]),
    lambda hook: hook.saying({"code": 200}),
    lambda hook: replace(hook, body=b""),
    lambda hook: replace(hook, body=hook.body[:-3]),
    lambda hook: replace(hook, body=b"[" * 20_000),
    lambda hook: replace(hook, body=b"<html>\xff</html>"),
    lambda hook: replace(hook, token="att_nobody.secret"),
    lambda hook: replace(hook, token=hook.token[:-1]),
    lambda hook: replace(hook, token=hook.token.partition(".")[0]),
    lambda hook: replace(hook, token="." + hook.token),
    lambda hook: replace(hook, token="%00../"),
    lambda hook: replace(hook, kind="nobody"),
)
