"""What rests after a refusal, for how long, and what brings it back: one row a code, and nothing decided elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from services.generation.plan import jittered

MAX_REST_SECONDS = 3600.0  # whatever a Retry-After says, or however often a key failed: everything returns by itself
MAX_STRIKES = 6  # more would not lengthen a rest


class Scope(Enum):
    """What a refusal is about."""

    KEY = "key"
    ACCOUNT = "account"
    MODEL = "model"


class Back(Enum):
    """What ends a rest."""

    TIME = "time"
    PROBE = "probe"
    """The key's balance can be read; asked each time the rest ends, which is later each time."""
    BALANCE = "balance"
    """The account holds something again; asked all the time."""


@dataclass(frozen=True)
class Cooling:
    """A row of the table. busy: the provider has enough to do, which callers are told as 429, all else as 503."""

    scope: Scope
    seconds: float
    back: Back = Back.TIME
    busy: bool = False


COOLING: Mapping[int, Cooling] = {  # docs/provider.md#codes-in-bodies
    401: Cooling(Scope.KEY, 180.0, Back.PROBE),
    402: Cooling(Scope.ACCOUNT, 60.0, Back.BALANCE),
    429: Cooling(Scope.ACCOUNT, 10.0, busy=True),
    430: Cooling(Scope.ACCOUNT, 10.0, busy=True),
    433: Cooling(Scope.KEY, 600.0),
    455: Cooling(Scope.ACCOUNT, 120.0),
    505: Cooling(Scope.MODEL, 300.0),
    550: Cooling(Scope.ACCOUNT, 30.0, busy=True),
}
UNPAID_SECONDS = 5.0  # an account and a model after a 402 while the account holds something; doubles with each strike
FORGIVEN_SECONDS = 3600.0  # a strike that is older than this lengthens no rest
UNKNOWN = COOLING[429]  # a refusal by its words alone is about call frequency (docs/provider.md#messages)
UNACCEPTED = frozenset(code for code, row in COOLING.items() if row.back is Back.PROBE)
DRY = frozenset(code for code, row in COOLING.items() if row.back is Back.BALANCE)
NEWS = UNACCEPTED | DRY  # time alone does not end these


def unpaid_seconds(strikes: int) -> float:
    """How long an account gets no order of a model that its balance did not suffice for."""
    return min(jittered(UNPAID_SECONDS * 2.0 ** min(strikes - 1, MAX_STRIKES)), MAX_REST_SECONDS)


def cooling_of(code: int) -> Cooling:
    """The row of a code."""
    return COOLING.get(code, UNKNOWN)


def rest_seconds(code: int, retry_after: float | None = None, strikes: int = 0) -> float:
    """How long to rest: what the provider asked for, or the row's time, twice as long with every strike."""
    usual = jittered(cooling_of(code).seconds * 2.0 ** min(strikes, MAX_STRIKES))
    return min(retry_after or usual, MAX_REST_SECONDS)
