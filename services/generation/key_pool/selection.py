"""Key selection: chooses among the keys by one reading of their rows; plain functions without any I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.generation.key_pool.cooldowns import NOT_BY_TIME, OUT_OF_CREDITS, UNACCEPTED
from services.generation.key_pool.pool import AccountStatus, KeyStatus, PoolStatus, Wait

WINDOW_MS = 10_000  # the provider's sliding window for creates (docs/provider.md#limits)
SOON_MS = 1_000  # when a create in flight is answered, or a dead key accepted, is unknown: look again
NO_KEYS = Wait(60.0, 401)  # no key is configured or enabled; an operator may mend that

Line = Any  # a row of the key pool's tables, as stores/key_pool.py reads them


@dataclass(frozen=True)
class Look:
    """The pool at a moment of the database's clock: accounts by name, keys by position, creates being counted."""

    now: int
    accounts: Sequence[Line]
    keys: Sequence[Line]
    marks: Sequence[Any]
    model: Line | None = None
    window_ms: int = WINDOW_MS
    unpaid: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Until when an account gets no order of a model, by both names."""

    def unpaid_left(self, account: str, model: str) -> float:
        """Seconds that an account and a model still rest together."""
        return max(self.unpaid.get((account, model), 0) - self.now, 0) / 1000

    def left(self, line: Line) -> float:
        """Seconds that a key, an account or a model still rests."""
        least = SOON_MS if line.cause_code in NOT_BY_TIME else 0
        return max(line.rest_until_ms - self.now, least) / 1000 if line.cause_code else 0.0

    def frees(self, account: str) -> list[int]:
        """When each counted create of an account stops counting, soonest first."""
        ends = [self._end(mark) for mark in self.marks if mark.account == account]
        return sorted(end for end in ends if end > self.now)

    def _end(self, mark: Any) -> int:
        """When a create stops counting: a window after its answer; while it is in flight that is unknown."""
        known: int = max(mark.at_ms, mark.answer_ms or 0) + self.window_ms
        return max(known, self.now + SOON_MS) if mark.in_flight else known


def choose(look: Look, creates: int, model: str) -> str | Wait:
    """The print of the key for the next create: of the account that counts the fewest, if that is below `creates`."""
    if look.model and (rest := look.left(look.model)):
        return Wait(rest, look.model.cause_code)
    standings = [standing for account in look.accounts for standing in _standings(look, account, creates, model)]
    free = [standing for standing in standings if not standing.wait.seconds]
    if free:
        return min(free, key=lambda standing: standing.load).key_print
    waits = [standing.wait for standing in standings] or [NO_KEYS]
    soonest = min(waits, key=lambda wait: wait.seconds)
    merely_busy = any(not wait.code for wait in waits)
    unpaid = all(wait.code in OUT_OF_CREDITS for wait in waits)
    return Wait(soonest.seconds) if merely_busy else replace(soonest, unpaid=unpaid)


@dataclass(frozen=True)
class Standing:
    """An account that has a key in use: its load, the key that would be taken, and when."""

    load: int
    key_print: str
    wait: Wait


def _standings(look: Look, account: Line, creates: int, model: str) -> Iterator[Standing]:
    """The standing of an account; none when it has no key in use."""
    keys = [key for key in look.keys if key.account == account.name and not key.disabled]
    if keys:
        key, frees = min(keys, key=look.left), look.frees(account.name)
        wait = _wait(look, max(account, key, key=look.left), frees, creates)
        unpaid = look.unpaid_left(account.name, model)
        yield Standing(len(frees), key.print, Wait(unpaid, min(OUT_OF_CREDITS)) if unpaid > wait.seconds else wait)


def _wait(look: Look, rest: Line, frees: Sequence[int], creates: int) -> Wait:
    """How long an account must wait: for its rest, its key's, or its bucket."""
    if seconds := look.left(rest):
        return Wait(seconds, rest.cause_code)
    return Wait((frees[len(frees) - creates] - look.now) / 1000 if len(frees) >= creates else 0.0)


def reader(look: Look, account: str) -> str | None:
    """The print of the key to read an account with, or any account when empty."""
    keys = [key for key in look.keys if account in {"", key.account} and key.cause_code not in UNACCEPTED]
    best = min(keys, key=lambda key: (key.disabled, look.left(key) > 0), default=None)
    return best.print if best else None


def accounts_due(look: Look, balance_seconds: float, dry_seconds: float) -> list[Line]:
    """Accounts whose balance was not read for so many seconds; `dry_seconds` counts while they have no credits."""
    patience = {True: dry_seconds * 1000, False: balance_seconds * 1000}
    return [line for line in look.accounts if look.now - line.asked_ms >= patience[line.cause_code in OUT_OF_CREDITS]]


def keys_due(look: Look) -> list[Line]:
    """Keys that the provider did not accept and whose rest has ended, so that they are probed."""
    resting = [key for key in look.keys if key.cause_code in UNACCEPTED and not key.disabled]
    return [key for key in resting if key.rest_until_ms <= look.now]


def pool_of(look: Look, missing: Mapping[str, int]) -> PoolStatus:
    """What operators see, with the tasks that wait for each account that is missing."""
    keys = tuple(key_status(look, key) for key in look.keys)
    gone = [AccountStatus(name, missing=True, waiting_tasks=tasks) for name, tasks in missing.items()]
    return PoolStatus(keys, (*(_account_status(look, account) for account in look.accounts), *gone))


def key_status(look: Look, key: Line) -> KeyStatus:
    """A key; what it rested for is over once it no longer rests."""
    rests = look.left(key) > 0
    return KeyStatus(key.print, key.account, key.disabled, key.cause_code * rests, key.rest_until_ms * rests)


def _account_status(look: Look, account: Line) -> AccountStatus:
    rests = look.left(account) > 0
    return AccountStatus(
        name=account.name,
        cause_code=account.cause_code * rests,
        rest_until_ms=account.rest_until_ms * rests,
        recent=len(look.frees(account.name)),
        in_flight=sum(bool(mark.in_flight) for mark in look.marks if mark.account == account.name),
        credits=account.credits,
        credits_ms=account.credits_ms,
        unpaid_models=tuple(m for name, m in look.unpaid if name == account.name and look.unpaid_left(name, m)),
    )
