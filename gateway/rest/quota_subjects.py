"""The subjects for which the daily quotas count an order: the client's address, and the user who is signed in."""

from contextlib import suppress
from hashlib import sha256

from starlette.requests import Request

from gateway.auth.authenticator import of
from gateway.auth.users import DEVELOPER
from gateway.rest import client_address
from services.chassis.errors import PermissionDenied, Unauthenticated, Unavailable


async def of_order(request: Request) -> list[str]:
    """The address and, by a digest, the person; the address alone of whoever cannot be told from a stranger now."""
    person = None
    with suppress(Unauthenticated, PermissionDenied, Unavailable):
        person = await of(request).person(request)
    if person is None or person.id == DEVELOPER.id:  # who stands for everybody on this machine
        return [client_address.address_of(request)]
    return [client_address.address_of(request), of_person(person.id)]


def of_person(person_id: str) -> str:
    """What counts a person: of one length whatever their id is, and no name of theirs."""
    return f"person {sha256(person_id.encode()).hexdigest()}"
