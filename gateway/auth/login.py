"""Exchanges a Google id token for a token of ours (S3: POST /api/auth/login)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway.auth.authenticator import User, user_of
from gateway.auth.jwks import JwksClient, JwksKeys
from gateway.auth.settings import IdentitySettings
from gateway.auth.tokens import Trust, signed

# developers.google.com/identity/openid-connect: either spelling is Google's
ISSUERS = ("https://accounts.google.com", "accounts.google.com")

Clock = Callable[[], float]
"""Seconds since 1970."""


@dataclass(frozen=True)
class Session:
    """A token of ours, how many seconds it is good, and its user."""

    token: str
    expires_in: int
    person: User


class Login:
    """Accepts Google's tokens for one OAuth client, and signs tokens that the stack accepts."""

    def __init__(self, google: Trust, settings: IdentitySettings, clock: Clock = time.time) -> None:
        self._google = google
        self._settings = settings
        self._clock = clock

    async def exchange(self, id_token: str) -> Session:
        """A session for the holder of a Google id token.

        Raises:
            Unauthenticated: INVALID_TOKEN, Google did not issue it for this site.
            Unavailable: AUTH_UNAVAILABLE, Google's keys cannot be read now.
        """
        claims = await self._google.claims(id_token)
        person = replace(user_of(claims), id=f"google_{claims['sub']}")
        return Session(self._token(person), self._settings.auth_token_seconds, person)

    def _token(self, person: User) -> str:
        now = int(self._clock())
        claims: dict[str, Any] = {
            "sub": person.id,
            "name": person.name,
            "email": person.email,
            "picture": person.picture,
            "iss": self._settings.auth_issuer or self._settings.origin,
            "iat": now,
            "exp": now + self._settings.auth_token_seconds,
        }
        if self._settings.auth_audience:
            claims["aud"] = self._settings.auth_audience
        return signed(claims, self._settings.auth_hs256_secret.get_secret_value())


def login(settings: IdentitySettings) -> Login:
    """The login of these settings."""
    keys = JwksKeys(JwksClient(settings.auth_google_jwks_url).read, time.monotonic)
    return Login(Trust(keys, ISSUERS, settings.auth_google_client_id), settings)
