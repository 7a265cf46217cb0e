"""Turns verified claims into the person they speak of."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from services.chassis.names import ID

MAX_CLAIM_LENGTH = 512  # of a name, an address or a picture's URL; longer claims are cut off as absent
DIGEST_LENGTH = 32  # hex digits: enough that two subjects never share an id


@dataclass(frozen=True)
class Person:
    """Who calls, as a trusted issuer describes them; empty where it says nothing."""

    id: str
    name: str = ""
    email: str = ""
    picture: str = ""


DEVELOPER = Person("user_dev", "Developer", "dev@localhost.invalid")


def person_of(claims: Mapping[str, Any]) -> Person:
    """The person of a token's claims, by OpenID Connect's names."""
    return Person(
        user_id(str(claims["sub"])),
        _text(claims, "name"),
        _text(claims, "email"),
        _text(claims, "picture"),
    )


def user_id(subject: str) -> str:
    """Our id of a subject: the subject itself where it can stand in a path, else one made from it."""
    return subject if ID.fullmatch(subject) else f"user_{sha256(subject.encode()).hexdigest()[:DIGEST_LENGTH]}"


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    fits = isinstance(value, str) and len(value) <= MAX_CLAIM_LENGTH and value.isprintable()
    return str(value) if fits else ""
