"""Keys by which tokens are verified: those of the JWKS that a sign-in service publishes and rotates.

It is fetched from the URL in our settings, never from one that a token names.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import jwt
import orjson
import structlog

from gateway.auth.authenticator import invalid_token, sign_in_unavailable
from services.chassis.errors import Unavailable

ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
FRESH_SECONDS = 600.0  # a revoked key is accepted so long
STALE_SECONDS = 86_400.0  # keys outlive an outage of the sign-in service by a day
UNKNOWN_SECONDS = 1.0  # between two reads that unknown key ids cause: made-up ids wait, and must not become a flood
ABSENT_SECONDS = 10.0  # a key id that a read did not bring is not asked for again so long
FIRST_PAUSE_SECONDS = 0.5  # after a read that failed; doubled by each further one
LONGEST_PAUSE_SECONDS, LONGEST_COLD_PAUSE_SECONDS = 30.0, 5.0  # with keys in hand, and while nobody can sign in

logger = structlog.get_logger()

Monotonic = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
Fetch = Callable[[], Awaitable[Mapping[str, Any]]]
"""Reads the published key set; raises Unavailable."""

MAX_JWKS_BYTES = 256 * 1024  # a key is below 4 KiB, and nobody rotates through sixty
FETCH_SECONDS = 5.0  # a person waits for this


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


class JwksKeys:
    """A published key set: kept fresh, read again for an unknown id, kept through an outage, never emptied."""

    def __init__(self, fetch: Fetch, monotonic: Monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._sleep = sleep
        self._keys: dict[str, SigningKey] = {}
        self._absent: dict[str, float] = {}  # ids that a read did not bring, and when
        self._read_at = -math.inf  # when the read began that brought the keys
        self._next_at = -math.inf  # no read begins before
        self._failures = 0  # reads in a row
        self._turn = asyncio.Lock()

    async def key(self, key_id: str) -> SigningKey:
        """The key of an id; the set is read at most once for it."""
        if self._age > FRESH_SECONDS or key_id not in self._keys:
            await self._look(key_id, self._monotonic())
        if found := self._keys.get(key_id):
            return found
        raise invalid_token("The token was signed by an unknown key.")

    @property
    def _age(self) -> float:
        return self._monotonic() - self._read_at

    async def _look(self, key_id: str, asked_at: float) -> None:
        async with self._turn:  # those who waited find what the first one brought
            wait = max(0.0, self._next_at - self._monotonic())
            if self._settled(key_id, asked_at):
                pass
            elif wait and self._failures:
                self._require(key_id)
            else:
                await self._sleep(wait)
                await self._read(key_id)

    def _settled(self, key_id: str, asked_at: float) -> bool:
        """Whether the last read decides: it is fresh and brought the key, or it began after the question."""
        if self._age > FRESH_SECONDS:
            return False
        absent_at = self._absent.get(key_id, -math.inf)
        return key_id in self._keys or self._read_at >= asked_at or self._monotonic() - absent_at < ABSENT_SECONDS

    async def _read(self, key_id: str) -> None:
        began_at = self._monotonic()
        try:
            keys = signing_keys(await self._fetch())
            if not keys:
                raise sign_in_unavailable()  # an empty set is a mistake, not the end of every session
        except Unavailable as error:
            self._put_off()
            logger.warning(
                "sign_in_keys_unread", failures=self._failures, cause=repr(error.__cause__ or "no usable key")
            )
            self._require(key_id)
        else:
            self._keys, self._read_at, self._failures = keys, began_at, 0
            self._note_absence(key_id)

    def _put_off(self) -> None:
        longest = LONGEST_PAUSE_SECONDS if self._keys else LONGEST_COLD_PAUSE_SECONDS
        self._next_at = self._monotonic() + min(longest, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 10))
        self._failures += 1

    def _note_absence(self, key_id: str) -> None:
        now = self._monotonic()
        self._absent = {name: at for name, at in self._absent.items() if now - at < ABSENT_SECONDS}
        if key_id not in self._keys:
            self._absent[key_id], self._next_at = now, now + UNKNOWN_SECONDS

    def _require(self, key_id: str) -> None:
        """Raise Unavailable unless an earlier read brought the key, at most STALE_SECONDS ago."""
        if key_id not in self._keys or self._age > STALE_SECONDS:
            raise sign_in_unavailable(max(0.0, self._next_at - self._monotonic()))


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


class JwksClient:
    """Fetches a JWK set from one URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self) -> Mapping[str, Any]:
        """The published set.

        Raises:
            Unavailable: AUTH_UNAVAILABLE, it cannot be reached or does not answer with a set.
        """
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                published = orjson.loads(await self._body())
        except (httpx.HTTPError, TimeoutError, orjson.JSONDecodeError) as error:
            raise sign_in_unavailable() from error
        if not isinstance(published, dict):
            raise sign_in_unavailable()
        return published

    async def _body(self) -> bytes:
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False) as client,
            client.stream("GET", self._url, headers={"Accept": "application/json"}) as response,
        ):
            response.raise_for_status()
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_JWKS_BYTES:
                    raise sign_in_unavailable()
            return body
