"""Verifies tokens: the signature by a trusted key, then issuer, audience and time; and signs our own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from gateway.auth.errors import invalid_token
from gateway.auth.signing_keys import Keys

MAX_TOKEN_LENGTH = 8192  # a header line; sign-in services stay below 4 KiB
LEEWAY_SECONDS = 60  # clocks of two machines (docs/security.md#identity)
BAD = "The token is not valid."
SENTENCES: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
}


@dataclass(frozen=True)
class Trust:
    """Tokens that are believed: whose keys, and which issuers and audience; empty means any."""

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


def header_of(token: str) -> Mapping[str, Any]:
    """The header of a token, nothing of it believed but the id of the key.

    Raises:
        Unauthenticated: INVALID_TOKEN, it is too long, unreadable, or asks for extensions.
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
