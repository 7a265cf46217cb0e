"""Authenticates tokens of a shared secret and of a sign-in service; refuses pages that borrow a cookie."""

import time
from collections.abc import Mapping

from starlette.requests import Request

from gateway.auth.errors import foreign_page, invalid_token
from gateway.auth.jwks import JwksClient
from gateway.auth.origins import SAFE, own_page
from gateway.auth.settings import IdentitySettings
from gateway.auth.signing_keys import JwksKeys, SharedSecret
from gateway.auth.tokens import Trust, header_of
from gateway.auth.users import User, user_of

COOKIE = "__session"  # docs/security.md#identity
SHARED, PUBLISHED = "HS256", ""


class TokenAuthenticator:
    """The Authenticator over trusts: one for the shared secret, one for published keys."""

    def __init__(self, trusts: Mapping[str, Trust], origins: frozenset[str]) -> None:
        self._trusts = trusts
        self._origins = origins

    async def person(self, request: Request) -> User | None:
        """The person of the bearer token, else of the session cookie."""
        token = bearer(request) or self._cookie(request)
        return user_of(await self._trust(token).claims(token)) if token else None

    def _trust(self, token: str) -> Trust:
        """Whose word a token is; the algorithm it names chooses the trust, never the algorithm of a key."""
        named = str(header_of(token).get("alg", ""))
        trust = self._trusts.get(SHARED if named == SHARED else PUBLISHED)
        if trust is None:
            raise invalid_token("The token was not issued for this site.")
        return trust

    def _cookie(self, request: Request) -> str:
        """The session's token; a browser sends it from every page, so writes must prove to come from ours."""
        token = request.cookies.get(COOKIE, "")
        if token and request.method not in SAFE and not own_page(request, self._origins):
            raise foreign_page()
        return token


def bearer(request: Request) -> str:
    """The token of the Authorization header; empty when there is none, or one of another scheme, which is not for us.

    Raises:
        Unauthenticated: INVALID_TOKEN, it is Bearer without a token.
    """
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return ""
    if not token.strip():
        raise invalid_token("The Authorization header must be Bearer and a token.")
    return token.strip()


def token_authenticator(settings: IdentitySettings, origins: frozenset[str]) -> TokenAuthenticator:
    """The authenticator of these settings; only pages of the named origins may write with the cookie."""
    issuers = (settings.auth_issuer,) if settings.auth_issuer else ()
    trusts: dict[str, Trust] = {}
    if secret := settings.auth_hs256_secret.get_secret_value():
        trusts[SHARED] = Trust(SharedSecret(secret), issuers, settings.auth_audience)
    if settings.auth_jwks_url:
        keys = JwksKeys(JwksClient(settings.auth_jwks_url).read, time.monotonic)
        trusts[PUBLISHED] = Trust(keys, issuers, settings.auth_audience)
    return TokenAuthenticator(trusts, origins)
