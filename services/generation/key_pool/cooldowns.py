"""Cooldowns: what rests after a refusal, for how long, and what ends the rest; one table, a row for each code."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from services.generation.timing import jittered

MAX_REST_SECONDS = 3600.0  # whatever a Retry-After says, or however often a key failed: every rest ends by itself
MAX_STRIKES = 6  # consecutive failures that count; more would not lengthen a rest


class Scope(Enum):
    """The scope of a refusal: what rests."""

    KEY = "key"
    ACCOUNT = "account"
    MODEL = "model"


class Back(Enum):
    """What ends a rest."""

    TIME = "time"
    PROBE = "probe"
    """A read of the balance with this key succeeds; tried at the end of each rest, which is longer each time."""
    BALANCE = "balance"
    """The account's balance is above zero again; read all the time."""


@dataclass(frozen=True)
class Cooldown:
    """A row of the table. busy: the provider has enough to do, which callers see as 429, everything else as 503."""

    scope: Scope
    seconds: float
    back: Back = Back.TIME
    busy: bool = False


COOLDOWNS: Mapping[int, Cooldown] = {  # docs/provider.md#codes-in-bodies
    401: Cooldown(Scope.KEY, 180.0, Back.PROBE),
    402: Cooldown(Scope.ACCOUNT, 60.0, Back.BALANCE),
    429: Cooldown(Scope.ACCOUNT, 10.0, busy=True),
    430: Cooldown(Scope.ACCOUNT, 10.0, busy=True),
    433: Cooldown(Scope.KEY, 600.0),
    455: Cooldown(Scope.ACCOUNT, 120.0),
    505: Cooldown(Scope.MODEL, 300.0),
    550: Cooldown(Scope.ACCOUNT, 30.0, busy=True),
}
UNPAID_SECONDS = 5.0  # an account and a model after a 402 while the account holds something; doubles with each strike
FORGIVEN_SECONDS = 3600.0  # a strike that is older than this lengthens no rest
UNKNOWN = COOLDOWNS[429]  # a refusal by its words alone is about call frequency (docs/provider.md#messages)
UNACCEPTED = frozenset(code for code, row in COOLDOWNS.items() if row.back is Back.PROBE)
OUT_OF_CREDITS = frozenset(code for code, row in COOLDOWNS.items() if row.back is Back.BALANCE)
NOT_BY_TIME = UNACCEPTED | OUT_OF_CREDITS  # causes that time alone does not end


def unpaid_seconds(strikes: int) -> float:
    """How long an account gets no order of a model that its balance did not suffice for."""
    return min(jittered(UNPAID_SECONDS * 2.0 ** min(strikes - 1, MAX_STRIKES)), MAX_REST_SECONDS)


def cooldown_of(code: int) -> Cooldown:
    """The row of a code."""
    return COOLDOWNS.get(code, UNKNOWN)


def rest_seconds(code: int, retry_after: float | None = None, strikes: int = 0) -> float:
    """Seconds of a rest: the provider's Retry-After, or the row's time, doubled with every strike."""
    usual = jittered(cooldown_of(code).seconds * 2.0 ** min(strikes, MAX_STRIKES))
    return min(retry_after or usual, MAX_REST_SECONDS)
