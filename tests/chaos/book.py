"""What customers wished for and what they were told, written down outside of the stack."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Errand(StrEnum):
    """What a customer does besides ordering."""

    NONE = ""
    HASTY = "hasty"
    """Cancels as soon as the order can be found, most often before it is sent."""
    CANCEL = "cancel"
    """Cancels once the order was sent."""
    RETRY = "retry"
    """Orders once more when the provider has failed."""
    SHARE = "share"
    """Shares the finished picture, with a double click."""


@dataclass(frozen=True)
class Order:
    """One customer's wish."""

    key: str
    route: str
    body: Mapping[str, str]
    errand: Errand = Errand.NONE

    @property
    def prompt(self) -> str:
        return self.body["prompt"]


@dataclass
class Book:
    """Ids and refusals by prompt; cancels by id, True once promised; retries by id; ids of shares by picture."""

    orders: dict[str, Order] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancels: dict[str, bool] = field(default_factory=dict)
    retries: set[str] = field(default_factory=set)
    shares: dict[str, set[str]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
