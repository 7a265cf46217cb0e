"""Knows the keys that signed a token: a shared secret, or what a sign-in service publishes and rotates."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from gateway.identity.refusals import invalid_token
from services.chassis.errors import Unavailable

ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
FRESH_SECONDS = 600.0  # a revoked key is believed so long
STALE_SECONDS = 86_400.0  # keys outlive their publisher's outage by a day
PATIENCE_SECONDS = 30.0  # between two looks for a key that is not there: made-up key ids must not become a flood

Monotonic = Callable[[], float]
Fetch = Callable[[], Awaitable[Mapping[str, Any]]]
"""Reads the published key set; raises Unavailable."""


@dataclass(frozen=True)
class SigningKey:
    """A key and the one algorithm that it may be used with, whatever a token says."""

    key: Any
    algorithm: str


class Keys(Protocol):
    """Finds the key of a token."""

    async def key(self, key_id: str) -> SigningKey:
        """The key of an id.

        Raises:
            Unauthenticated: INVALID_TOKEN, there is no such key.
            Unavailable: the keys cannot be read now.
        """


class SharedSecret:
    """One secret for all tokens; key ids mean nothing."""

    def __init__(self, secret: str) -> None:
        self._key = SigningKey(secret, "HS256")

    async def key(self, _key_id: str) -> SigningKey:
        """The secret."""
        return self._key


class PublishedKeys:
    """A published key set, read when needed: kept fresh, refreshed once for an unknown id, kept through an outage."""

    def __init__(self, fetch: Fetch, monotonic: Monotonic) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: dict[str, SigningKey] = {}
        self._read_at = self._tried_at = -math.inf  # never
        self._turn = asyncio.Lock()

    async def key(self, key_id: str) -> SigningKey:
        """The key of an id, after at most one look at the publisher."""
        if self._age > FRESH_SECONDS or key_id not in self._keys:
            await self._refresh(key_id)
        if found := self._keys.get(key_id):
            return found
        raise invalid_token("The token was signed by an unknown key.")

    @property
    def _age(self) -> float:
        return self._monotonic() - self._read_at

    async def _refresh(self, key_id: str) -> None:
        async with self._turn:  # those who waited find what the first one brought
            fresh = self._age <= FRESH_SECONDS and key_id in self._keys
            if fresh or self._monotonic() - self._tried_at < PATIENCE_SECONDS:
                return self._require()
            self._tried_at = self._monotonic()
            await self._read()
        return None

    async def _read(self) -> None:
        try:
            published = await self._fetch()
        except Unavailable:
            self._require()
        else:
            self._keys, self._read_at = signing_keys(published), self._monotonic()

    def _require(self) -> None:
        if self._age > STALE_SECONDS:
            raise Unavailable("The sign-in service cannot be reached. Try again shortly.", "AUTH_UNAVAILABLE")


def signing_keys(published: Mapping[str, Any]) -> dict[str, SigningKey]:
    """The keys of a JWK set that can verify signatures, by id; what we cannot use is left out."""
    listed = published.get("keys")
    found = (_signing_key(each) for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ()
    return dict(pair for pair in found if pair)


def _signing_key(published: dict[str, Any]) -> tuple[str, SigningKey] | None:
    if published.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(published)
    except jwt.PyJWTError:
        return None
    if key.algorithm_name not in ASYMMETRIC:  # a published secret is no secret
        return None
    return str(key.key_id or ""), SigningKey(key.key, key.algorithm_name)
