"""Says who sends a request, for towns with sign-in, without, and under development."""

from typing import TYPE_CHECKING, Protocol

import structlog
from starlette.requests import Request

from gateway.identity.people import DEVELOPER, Person
from gateway.identity.settings import IdentitySettings

if TYPE_CHECKING:  # it loads the cryptography that most towns save
    from gateway.identity.login import Login

logger = structlog.get_logger()


class Doorkeeper(Protocol):
    """Knows people by their requests."""

    async def person(self, request: Request) -> Person | None:
        """Who sends it; None when it carries no token.

        Raises:
            Unauthenticated: INVALID_TOKEN.
            PermissionDenied: another site's page used the browser's cookie to write.
            Unavailable: AUTH_UNAVAILABLE, the keys cannot be read now.
        """


class Nobody:
    """A town without sign-in: everybody is anonymous."""

    async def person(self, _request: Request) -> Person | None:
        """Nobody."""
        return None


class Developer:
    """AUTH_DEV_MODE: everybody is the same developer."""

    async def person(self, _request: Request) -> Person | None:
        """The developer."""
        return DEVELOPER


def doorkeeper(settings: IdentitySettings, origins: frozenset[str]) -> Doorkeeper:
    """The doorkeeper that the settings ask for; pages of the named origins may write with a session cookie."""
    if settings.has_identity:
        from gateway.identity.believer import believer  # noqa: PLC0415 - 20 MB that a town without sign-in saves

        return believer(settings, origins)
    if settings.auth_dev_mode:
        logger.warning("auth_dev_mode", hint="everybody who reaches this town acts as one developer")
        return Developer()
    return Nobody()


def sign_in(settings: IdentitySettings) -> "Login | None":
    """The exchange behind POST /api/auth/login; None where no OAuth client is named."""
    if not settings.auth_google_client_id:
        return None
    from gateway.identity.login import login  # noqa: PLC0415 - as above

    return login(settings)
