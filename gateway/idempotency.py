"""Turns a client's Idempotency-Key into the id of a request, as conventions.md 4.3 has it."""

from hashlib import sha256

from starlette.requests import Request

from gateway import parse


def request_id(request: Request) -> str:
    """The key within its method and path, so that one key on two routes is two requests; empty without a key.

    The key itself is hashed: with its scope before it the longest would not fit the 255 characters of a request id.
    """
    key = parse.idempotency_key(request)
    return f"{request.method} {request.url.path} {sha256(key.encode()).hexdigest()}" if key else ""
