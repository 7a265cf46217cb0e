"""What all nouns share: KIE's JSON, its refusals, the rules and the switches."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Json = dict[str, Any]


def digest_of(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


class RefusalError(Exception):
    """KIE says no: a code of its own (kie.md 6.1) and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Rules:
    """The settings the business needs. Times in milliseconds."""

    base_url: str
    credits: Decimal
    generation_ms: int
    result_ttl_ms: int
    upload_ttl_ms: int
    create_limit: int
    create_window_ms: int
    read_limit: int
    image_side: int


@dataclass(frozen=True)
class Switches:
    """How replies are worded at the moment, since KIE's pages and callers disagree, and how the file host is."""

    http_mode: str = "body"
    casing: str = "camel"
    times: str = "native"
    result_json: str = "text"
    files: str = "up"


@dataclass(frozen=True)
class Account:
    """One customer of KIE: several keys, one purse."""

    name: str
    granted: Decimal
    spent: Decimal
    refunded: Decimal
    revoked: bool
    revoked_keys: tuple[str, ...]

    @property
    def balance(self) -> Decimal:
        """What is left to spend."""
        return self.granted - self.spent + self.refunded
