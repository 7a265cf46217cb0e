"""Verifies tokens (the signature by a shared or a published key, then issuer, audience and time), and signs our own.

TokenAuthenticator is the Authenticator of a site with sign-in; it also refuses pages of others that borrow a cookie.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from starlette.requests import Request

from gateway.auth.authenticator import SAFE_METHODS, User, foreign_page, invalid_token, own_page, user_of
from gateway.auth.jwks import JwksClient, JwksKeys, Keys, SigningKey
from gateway.auth.settings import IdentitySettings

MAX_TOKEN_LENGTH = 8192  # a header line; sign-in services stay below 4 KiB
LEEWAY_SECONDS = 60  # clocks of two machines (docs/security.md#identity)
BAD = "The token is not valid."
SENTENCES: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
}

COOKIE = "__session"  # docs/security.md#identity
SHARED, PUBLISHED = "HS256", ""


@dataclass(frozen=True)
class Trust:
    """Which tokens are accepted: whose keys, and which issuers and audience; empty means any."""

    keys: Keys
    issuers: Sequence[str] = ()
    audience: str = ""

    async def claims(self, token: str) -> dict[str, Any]:
        """The claims of a good token; `sub` is a string that is not empty.

        Raises:
            Unauthenticated: INVALID_TOKEN.
            Unavailable: the keys cannot be read now.
        """
        header = header_of(token)
        key = await self.keys.key(str(header.get("kid", "")))
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self.audience or None,
                issuer=list(self.issuers) or None,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub", *(["aud"] if self.audience else [])]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            sentence = next((text for kind, text in SENTENCES.items() if isinstance(error, kind)), BAD)
            raise invalid_token(sentence) from error
        return _with_subject(claims, token)


class SharedSecret:
    """One secret for all tokens; key ids mean nothing."""

    def __init__(self, secret: str) -> None:
        self._key = SigningKey(secret, "HS256")

    async def key(self, _key_id: str) -> SigningKey:
        """The secret."""
        return self._key


def header_of(token: str) -> Mapping[str, Any]:
    """The header of a token; nothing of it is trusted but the id of the key.

    Raises:
        Unauthenticated: INVALID_TOKEN, it is too long, unreadable, or names critical extensions.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise invalid_token("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise invalid_token(BAD) from error
    if "crit" in header:  # RFC 7515 4.1.11: we understand none
        raise invalid_token(BAD)
    return header


def _with_subject(claims: dict[str, Any], token: str) -> dict[str, Any]:
    """The claims, unless two parsers could read them differently or they name nobody."""
    payload = jwt.utils.base64url_decode(token.split(".")[1])
    json.loads(payload, object_pairs_hook=_unique)
    if not isinstance(claims["sub"], str) or not claims["sub"].strip():
        raise invalid_token(BAD)
    return claims


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise invalid_token(BAD)
    return dict(pairs)


def signed(claims: Mapping[str, Any], secret: str) -> str:
    """A token of ours."""
    return jwt.encode(dict(claims), secret, algorithm="HS256")


class TokenAuthenticator:
    """The Authenticator over trusts: one for the shared secret, one for published keys."""

    def __init__(self, trusts: Mapping[str, Trust], origins: frozenset[str]) -> None:
        self._trusts = trusts
        self._origins = origins

    async def person(self, request: Request) -> User | None:
        """The user of the bearer token, else of the session cookie."""
        token = bearer(request) or self._cookie(request)
        return user_of(await self._trust(token).claims(token)) if token else None

    def _trust(self, token: str) -> Trust:
        """The trust of a token: the algorithm that it names chooses the trust, never the algorithm of a key."""
        named = str(header_of(token).get("alg", ""))
        trust = self._trusts.get(SHARED if named == SHARED else PUBLISHED)
        if trust is None:
            raise invalid_token("The token was not issued for this site.")
        return trust

    def _cookie(self, request: Request) -> str:
        """The session's token; a browser sends it from every page, so writes must prove to come from ours."""
        token = request.cookies.get(COOKIE, "")
        if token and request.method not in SAFE_METHODS and not own_page(request, self._origins):
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
