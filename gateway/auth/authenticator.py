"""Finds the user of a request: by a token, as the development identity, or nobody where sign-in is off.

Browsers add cookies to the requests of any page, and any page may reach this machine, so the page that sent a request
and the host that it named are judged too (CSRF, DNS rebinding). Tokens are verified in tokens.py, which is loaded only
where sign-in is configured.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request

from gateway.auth.settings import IdentitySettings
from services.chassis.errors import PermissionDenied, Unauthenticated, Unavailable
from services.chassis.text import one_line

MAX_SUBJECT_LENGTH = 255  # OpenID Connect Core 2
MAX_SECONDS = 2**33  # the year 2242: no token is from behind it
MAX_CLAIM_LENGTH = 512  # of a name, an address or a picture's URL; longer claims are cut off as absent

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SAME_ORIGIN = "same-origin"
TYPED = "none"  # of Sec-Fetch-Site: no page sent the request, a person did

logger = structlog.get_logger()


def auth_required() -> Unauthenticated:
    """The error for a route that needs a user, where the request carries no token."""
    return Unauthenticated("Sign in first: this needs a token.", "AUTH_REQUIRED")


def invalid_token(sentence: str) -> Unauthenticated:
    """The error for a token that is not good."""
    return Unauthenticated(f"{sentence} Sign in again.", "INVALID_TOKEN")


def _sign_in_off() -> Unauthenticated:
    """The error where nobody can sign in: neither tokens nor development identity are configured."""
    return Unauthenticated(
        "Nobody can sign in here yet: the operator of this site has to configure sign-in "
        "(AUTH_HS256_SECRET or AUTH_JWKS_URL).",
        "SIGN_IN_OFF",
    )


def _foreign_host() -> PermissionDenied:
    """The error for a request under another name than this machine's own, as DNS rebinding or a proxy makes it."""
    return PermissionDenied(
        "Development identity is only for this machine: open the site at localhost, or configure sign-in.",
        "FOREIGN_HOST",
    )


def foreign_page() -> PermissionDenied:
    """The error for a page of another site that used this browser's cookie."""
    return PermissionDenied("This request came from a page that may not act in your name.", "FORBIDDEN")


def sign_in_unavailable(retry_after: float | None = None) -> Unavailable:
    """The error while nobody can tell whose a token is."""
    sentence = "The sign-in service cannot be reached. Try again shortly."
    return Unavailable(sentence, "AUTH_UNAVAILABLE", retry_after=retry_after)


@dataclass(frozen=True)
class User:
    """A user, as a trusted issuer describes them; a field is empty where the issuer says nothing."""

    id: str
    name: str = ""
    email: str = ""
    picture: str = ""
    issued: int = 0
    """When the token was issued, in seconds since 1970; 0 when it does not say."""


DEVELOPER = User("user_dev", "Developer", "dev@localhost.invalid")


def user_of(claims: Mapping[str, Any]) -> User:
    """The user of a token's claims, by OpenID Connect's names; the id is the subject as it is.

    Raises:
        Unauthenticated: INVALID_TOKEN, the subject cannot be a person's id.
    """
    subject = str(claims["sub"])
    if len(subject) > MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise invalid_token("The token names nobody.")
    issued = claims.get("iat")
    return User(
        subject,
        _text(claims, "name"),
        _text(claims, "email"),
        _text(claims, "picture"),
        issued=int(issued) if isinstance(issued, int | float) and 0 < issued < MAX_SECONDS else 0,
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return one_line(value) if isinstance(value, str) and len(value) <= MAX_CLAIM_LENGTH else ""


def own_page(request: Request, origins: Collection[str]) -> bool:
    """Whether a page of these origins sent the request, by its Origin, or by Sec-Fetch-Site where it has no Origin."""
    origin = request.headers.get("origin", "")
    return origin in origins if origin else request.headers.get("sec-fetch-site", "") == SAME_ORIGIN


def local_page(request: Request, origins: Collection[str]) -> bool:
    """Whether no page sent the request, or a page that this machine serves, or one of these origins.

    A browser says from where a request comes that changes something or whose answer a page may read.
    """
    origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site", "")
    if origin:
        return origin in origins or _local_name(urlsplit(origin).hostname)
    return request.method in SAFE_METHODS or site in ("", TYPED, SAME_ORIGIN)


def local_host(request: Request) -> bool:
    """Whether the request names this machine as its host: DNS may rebind a name of others to this machine."""
    try:
        return _local_name(urlsplit(f"//{request.headers.get('host', '')}").hostname)
    except ValueError:
        return False


def _local_name(host: str | None) -> bool:
    """Whether a host is localhost, a name below it, or a loopback address; no others can own these."""
    if not host:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


if TYPE_CHECKING:  # it loads the cryptography that most stacks save
    from gateway.auth.login import Login


class Authenticator(Protocol):
    """Finds the user of a request."""

    async def person(self, request: Request) -> User | None:
        """The user who sends the request; None when it carries no token.

        Raises:
            Unauthenticated: INVALID_TOKEN, or SIGN_IN_OFF where nobody can sign in.
            PermissionDenied: another site's page used the browser's cookie, or this machine, to act.
            Unavailable: AUTH_UNAVAILABLE, the keys cannot be read now.
        """


class NoSignIn:
    """No sign-in is configured: everybody is anonymous."""

    async def person(self, _request: Request) -> User | None:
        """Raises Unauthenticated (SIGN_IN_OFF), whatever the request carries."""
        raise _sign_in_off()


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
            raise _foreign_host()
        if not local_page(request, self._origins):
            raise foreign_page()
        return replace(DEVELOPER, issued=int(time.time()) + 1)  # has no token that could be old


def of(request: Request) -> Authenticator:
    """The authenticator of the application that answers a request."""
    return cast("Authenticator", request.app.state.authenticator)


def authenticator(settings: IdentitySettings, origins: frozenset[str]) -> Authenticator:
    """The authenticator that the settings ask for; pages of the named origins may write with a session cookie."""
    if settings.has_identity:
        from gateway.auth.tokens import token_authenticator  # noqa: PLC0415 - 20 MB that a stack without sign-in saves

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
