"""Says in whose name a request counts: the address of its client, and the subjects of its daily quotas.

Envoy sets the address; headers that a client sends about itself are ignored.
"""

from contextlib import suppress
from hashlib import sha256

from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from gateway.auth.authenticator import DEVELOPER, of
from services.chassis.client_limits import HEADER, client_of
from services.chassis.errors import PermissionDenied, Unauthenticated, Unavailable

RAW_HEADER = HEADER.encode()


def address_of(request: HTTPConnection) -> str:
    """The client's IPv4 address, or the /64 network of its IPv6 address; `unknown` without either."""
    return address_of_scope(request.scope)


def address_of_scope(scope: Scope) -> str:
    """The address of the client of an ASGI scope, for layers, which have no request yet."""
    given = next((value for name, value in scope["headers"] if name == RAW_HEADER), b"")
    return client_of(given.decode("latin-1"), scope["client"][0] if scope.get("client") else "")


async def quota_subjects(request: Request) -> list[str]:
    """The subjects for which the daily quotas count an order: the address, and a digest of the user who is signed in.

    Only the address when there is no user, or while the sign-in service cannot be asked.
    """
    person = None
    with suppress(Unauthenticated, PermissionDenied, Unavailable):
        person = await of(request).person(request)
    if person is None or person.id == DEVELOPER.id:  # the developer is everybody on this machine
        return [address_of(request)]
    return [address_of(request), person_subject(person.id)]


def person_subject(person_id: str) -> str:
    """The subject of a user: a digest, so that it is short and does not tell the id."""
    return f"person {sha256(person_id.encode()).hexdigest()}"
