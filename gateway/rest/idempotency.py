"""Turns a client's Idempotency-Key into the id of a request, as docs/rest.md#idempotency has it.

The services keep what was asked under an id, in the transaction of its effect; the gateway only says whose id it is and
what a repetition must repeat.
"""

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

import orjson
from grpc import aio
from starlette.requests import Request

from gateway.auth.authenticator import of
from gateway.rest.responses import template
from services.chassis import context
from services.chassis.client_address import client_of_scope
from services.chassis.errors import PermissionDenied, Unauthenticated, invalid_field

MAX_KEY_LENGTH = 255  # of an Idempotency-Key (docs/rest.md#idempotency)
REPLAYED = {"Idempotent-Replayed": "true"}  # Stripe's word for it


@dataclass(frozen=True)
class RequestKey:
    """The id of a request for the services, and the digest of its body; both are empty where the client gave no key."""

    id: str = ""
    digest: str = ""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The id and the digest as gRPC metadata, for services that keep answers (services/chassis/idempotency.py)."""
        return tuple((name, value) for name, value in ((context.KEY, self.id), (context.DIGEST, self.digest)) if value)


async def request_key(request: Request, *, read_body: bool = True) -> RequestKey:
    """The key within its caller, method and path: one key of two people, or on two routes, is two requests.

    The caller is the person who is signed in, else the client's address. The digest is of the body, unless that
    is a file, which the service that keeps it compares.

    Raises:
        InvalidArgument: the key is too long, or not printable.
        Unavailable: the token cannot be verified now, and a guess at the caller could order twice.
    """
    if not (key := _key_of(request)):
        return RequestKey()
    scope = "\0".join((await _caller(request), request.method, request.url.path, key))
    digest = sha256(canonical(await request.body())).hexdigest() if read_body else ""
    return RequestKey(f"{request.method} {template(request.scope)} {sha256(scope.encode()).hexdigest()}", digest)


def _key_of(request: Request) -> str:
    """The Idempotency-Key of a request; empty when it has none. Raises InvalidArgument."""
    value = request.headers.get("idempotency-key", "")
    if len(value) > MAX_KEY_LENGTH or not value.isascii() or not value.isprintable():
        raise invalid_field(
            "Idempotency-Key", f"Idempotency-Key must be at most {MAX_KEY_LENGTH} printable ASCII characters."
        )
    return value


async def replayed(call: aio.Call) -> dict[str, str]:
    """The header of an answer that was given before; empty for a new one."""
    return REPLAYED if any(name == context.REPLAYED for name, _ in await call.trailing_metadata() or ()) else {}


async def _caller(request: Request) -> str:
    person = None
    with suppress(Unauthenticated, PermissionDenied):
        person = await of(request).person(request)
    return f"person {person.id}" if person else f"address {client_of_scope(request.scope)}"


def canonical(body: bytes) -> bytes:
    """A JSON body with sorted fields and no blanks, so that equal orders are equal bytes; other bodies as they are."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        return body
