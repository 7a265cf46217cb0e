"""The viewer of a request: the signed-in user, of whom the community has a row before a route runs."""

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from kawaii.community.v1 import users_pb2 as userspb
from kawaii.community.v1 import users_pb2_grpc as usersrpc
from starlette.requests import Request

from gateway.auth import authenticator
from gateway.auth.authenticator import User, auth_required
from gateway.clients import stubs
from services.chassis.errors import PermissionDenied, Unauthenticated, Unavailable
from services.chassis.status import translated

KNOWN_SECONDS = 60.0  # a changed name shows at the latest by then; saves a call for every other request
MAX_KNOWN = 10_000  # people remembered at once, some 2 MB


class KnownUsers:
    """The users whose rows were written lately, so that not every request writes one."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: OrderedDict[User, float] = OrderedDict()

    async def ensure(self, users: "usersrpc.UserServiceAsyncStub", person: User) -> None:
        """Make sure that the community has the user's row, with what the token says now.

        Raises:
            Unauthenticated: ACCOUNT_ERASED, the token is older than the erasure of its person.
        """
        if self._known.get(person, 0.0) > self._monotonic():
            return
        known = userspb.EnsureUserRequest(
            viewer_id=person.id, display_name=person.name, email=person.email, picture_uri=person.picture
        )
        if person.issued:
            known.token_issue_time.FromSeconds(person.issued)
        with translated():
            await users.EnsureUser(known)
        self._known[person] = self._monotonic() + KNOWN_SECONDS
        self._known.move_to_end(person)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def forget(self, viewer_id: str) -> None:
        """Forget a user who was erased: their next request writes a new row."""
        for person in [person for person in self._known if person.id == viewer_id]:
            del self._known[person]


async def required(request: Request) -> str:
    """The id of the user who sends the request.

    Raises:
        Unauthenticated: AUTH_REQUIRED, INVALID_TOKEN or ACCOUNT_ERASED.
    """
    person = await authenticator.of(request).person(request)
    if person is None:
        raise auth_required()
    request.state.person_id = person.id  # whom the log of refusals names
    await known_users(request).ensure(stubs.of(request).users, person)
    return person.id


async def optional(request: Request) -> str:
    """The id of the user who sends the request; empty without a user, and while a token cannot be verified.

    So what everybody may read is answered also to a browser with an expired cookie, and while the sign-in service is
    away.
    """
    person = None
    with suppress(Unauthenticated, PermissionDenied, Unavailable):
        person = await authenticator.of(request).person(request)
    if person is None:
        return ""
    try:
        await known_users(request).ensure(stubs.of(request).users, person)
    except Unauthenticated:
        return ""
    return person.id


def known_users(request: Request) -> KnownUsers:
    """The KnownUsers of the application that answers a request."""
    return cast("KnownUsers", request.app.state.known_users)
