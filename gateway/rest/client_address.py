"""The address of a request's client, as Envoy sets it; headers that a client sends about itself are ignored."""

from starlette.requests import HTTPConnection
from starlette.types import Scope

from services.chassis.client_limits import HEADER, UNKNOWN, client_of, place_of

__all__ = ["HEADER", "UNKNOWN", "address_of", "address_of_scope", "place_of"]

RAW_HEADER = HEADER.encode()


def address_of(request: HTTPConnection) -> str:
    """The client's IPv4 address, or the /64 network of its IPv6 address; UNKNOWN without either."""
    return address_of_scope(request.scope)


def address_of_scope(scope: Scope) -> str:
    """The same, where there is no request yet."""
    given = next((value for name, value in scope["headers"] if name == RAW_HEADER), b"")
    return client_of(given.decode("latin-1"), scope["client"][0] if scope.get("client") else "")
