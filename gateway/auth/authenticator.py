"""Finds the user of a request: by sign-in, as the development identity, or nobody where sign-in is off."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

import structlog
from starlette.requests import Request

from gateway.auth.errors import foreign_host, foreign_page, sign_in_off
from gateway.auth.origins import local_host, local_page
from gateway.auth.settings import IdentitySettings
from gateway.auth.users import DEVELOPER, User

if TYPE_CHECKING:  # it loads the cryptography that most stacks save
    from gateway.auth.login import Login

logger = structlog.get_logger()


class Authenticator(Protocol):
    """Knows people by their requests."""

    async def person(self, request: Request) -> User | None:
        """Who sends it; None when it carries no token.

        Raises:
            Unauthenticated: INVALID_TOKEN, or SIGN_IN_OFF where nobody can sign in.
            PermissionDenied: another site's page used the browser's cookie, or this machine, to act.
            Unavailable: AUTH_UNAVAILABLE, the keys cannot be read now.
        """


class NoSignIn:
    """No sign-in is configured: everybody is anonymous."""

    async def person(self, _request: Request) -> User | None:
        """NoSignIn, ever. Raises Unauthenticated (SIGN_IN_OFF)."""
        raise sign_in_off()


class DevelopmentIdentity:
    """AUTH_DEV_MODE: whoever uses this machine is the same developer; pages from elsewhere are not."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    async def person(self, request: Request) -> User | None:
        """The developer.

        Raises:
            PermissionDenied: it came under a foreign name (FOREIGN_HOST), or from a foreign page (FORBIDDEN).
        """
        if not local_host(request):
            raise foreign_host()
        if not local_page(request, self._origins):
            raise foreign_page()
        return replace(DEVELOPER, issued=int(time.time()) + 1)  # has no token that could be old


def of(request: Request) -> Authenticator:
    """The authenticator of the application that answers a request."""
    return cast("Authenticator", request.app.state.authenticator)


def authenticator(settings: IdentitySettings, origins: frozenset[str]) -> Authenticator:
    """The authenticator that the settings ask for; pages of the named origins may write with a session cookie."""
    if settings.has_identity:
        from gateway.auth.token_authenticator import token_authenticator  # noqa: PLC0415 - 20 MB that a stack without sign-in saves

        return token_authenticator(settings, origins)
    if settings.auth_dev_mode:
        logger.warning("auth_dev_mode", hint="everybody on this machine acts as one developer")
        return DevelopmentIdentity(origins)
    return NoSignIn()


def sign_in(settings: IdentitySettings) -> "Login | None":
    """The exchange behind POST /api/auth/login; None where no OAuth client is named."""
    if not settings.auth_google_client_id:
        return None
    from gateway.auth.login import login  # noqa: PLC0415 - as above

    return login(settings)
