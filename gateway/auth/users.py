"""Turns verified claims into the user whom they describe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.auth.errors import invalid_token
from services.chassis.text import one_line

MAX_SUBJECT_LENGTH = 255  # OpenID Connect Core 2
MAX_SECONDS = 2**33  # the year 2242: no token is from behind it
MAX_CLAIM_LENGTH = 512  # of a name, an address or a picture's URL; longer claims are cut off as absent


@dataclass(frozen=True)
class User:
    """Who calls, as a trusted issuer describes them; empty where it says nothing."""

    id: str
    name: str = ""
    email: str = ""
    picture: str = ""
    issued: int = 0
    """When the token was issued, in seconds since 1970; 0 when it does not say."""


DEVELOPER = User("user_dev", "DevelopmentIdentity", "dev@localhost.invalid")


def user_of(claims: Mapping[str, Any]) -> User:
    """The person of a token's claims, by OpenID Connect's names; the id is the subject as it is.

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
