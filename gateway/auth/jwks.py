"""Fetches a sign-in service's JWKS from the URL in our settings, never from one that a token names."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from gateway.auth.errors import unavailable

MAX_BYTES = 256 * 1024  # a key is below 4 KiB, and nobody rotates through sixty
SECONDS = 5.0  # a person waits for this


class JwksClient:
    """One URL of a JWK set."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self) -> Mapping[str, Any]:
        """The published set.

        Raises:
            Unavailable: AUTH_UNAVAILABLE, it cannot be reached or does not answer with a set.
        """
        try:
            async with asyncio.timeout(SECONDS):
                published = orjson.loads(await self._body())
        except (httpx.HTTPError, TimeoutError, orjson.JSONDecodeError) as error:
            raise unavailable() from error
        if not isinstance(published, dict):
            raise unavailable()
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
                if len(body) > MAX_BYTES:
                    raise unavailable()
            return body
