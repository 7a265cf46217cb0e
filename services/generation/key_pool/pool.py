"""The key pool: the provider's keys and accounts, their statuses, and the port of the pool."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from services.chassis.database import Database, Transaction
from services.chassis.errors import NotFound
from services.generation.outcomes import Later, Refused

NO_KEY = "There is no key of this name. ListProviderKeys shows them."
PRINT_DIGITS = 8  # of a key's SHA-256: enough to tell five keys apart, useless for guessing one


def account_of(key_print: str) -> str:
    """The account's name of a key that KIE_ACCOUNTS gives none; it follows the key, not its position."""
    return f"key-{key_print}"


@dataclass(frozen=True)
class Key:
    """A provider key. The value is used only to make a request; the print names the key in logs and rows."""

    account: str
    print: str
    value: str

    @classmethod
    def of(cls, account: str, value: str) -> "Key":
        """A key with the print that names it in logs and rows."""
        return cls(account, print_of(value), value)

    def __repr__(self) -> str:
        """Show which key, never its value."""
        return f"Key({self.account}/{self.print})"


def print_of(value: str) -> str:
    """The print that names a key in logs and rows: the first digits of its digest."""
    return sha256(value.encode()).hexdigest()[:PRINT_DIGITS]


@dataclass(frozen=True)
class Wait:
    """How long until a create may be taken: code is the refusal to blame, 0 when the accounts are merely busy.

    unpaid: every account refuses the model for lack of credits, so that only money helps.
    """

    seconds: float
    code: int = 0
    unpaid: bool = False


@dataclass(frozen=True)
class KeyStatus:
    """A key as operators see it. cause_code and rest_until_ms are 0 unless it rests."""

    print: str
    account: str
    disabled: bool = False
    cause_code: int = 0
    rest_until_ms: int = 0


@dataclass(frozen=True)
class AccountStatus:
    """An account as operators see it. cause_code and rest_until_ms are 0 unless it rests.

    credits_ms is when its balance was read, 0 before the first time.

    missing: no key of the account is configured any more; its waiting_tasks are read when one is again.
    """

    name: str
    cause_code: int = 0
    rest_until_ms: int = 0
    recent: int = 0
    in_flight: int = 0
    credits: float = 0.0
    credits_ms: int = 0
    unpaid_models: tuple[str, ...] = ()
    missing: bool = False
    waiting_tasks: int = 0


@dataclass(frozen=True)
class PoolStatus:
    """The keys in the order configured, and their accounts by name."""

    keys: tuple[KeyStatus, ...]
    accounts: tuple[AccountStatus, ...]


class KeyPoolStore(Protocol):
    """The rows of the key pool, shared by all replicas and kept over restarts; `KeyPool` says what each method does.

    What ends a rest early makes the orders that wait for it due at once.
    """

    def acquire(self, transaction: Transaction, attempt_id: str, model: str) -> Key | Wait:
        """Choose a key for a create, and count that."""

    def outlook(self, transaction: Transaction, model: str) -> Wait:
        """How long acquire would have to wait."""

    def reader(self, transaction: Transaction, account: str, key_print: str) -> Key | None:
        """A key for reading."""

    def refused(self, transaction: Transaction, key: Key, code: int, retry_after: float | None, model: str) -> None:
        """Begin a rest."""

    def is_tried_again(self, key: Key, model: str) -> bool:
        """True when this process took a key for a model whose rest together with the account was over."""

    def accepted(self, transaction: Transaction, key: Key, model: str) -> None:
        """Forget the rest of account and model together."""

    def note_balance(self, transaction: Transaction, key: Key, credits_left: float) -> None:
        """Store a balance, and end the rests that it ends."""

    def any_due(self, transaction: Transaction, balance_seconds: float, dry_seconds: float) -> bool:
        """True when take_due would take a key now."""

    def take_due(self, transaction: Transaction, balance_seconds: float, dry_seconds: float) -> Sequence[Key]:
        """Claim the reads of balances that are due."""

    def listing(self, transaction: Transaction) -> PoolStatus:
        """The status of all keys and accounts."""

    def enable(self, transaction: Transaction, key_print: str) -> None:
        """Enable a key and end its rest."""

    def disable(self, transaction: Transaction, key_print: str) -> None:
        """Disable a key."""


class KeyPool:
    """The pool of provider keys, shared by all replicas and kept over restarts; cooldowns.py has who rests for what.

    Every method may raise errors.Unavailable with nothing changed. What ends a rest early makes the orders that wait
    for it due at once.
    """

    def __init__(self, database: Database, store: KeyPoolStore, keys: Sequence[Key]) -> None:
        self._database = database
        self._store = store
        self._keys = {key.print: key for key in keys}

    async def acquire(self, attempt_id: str, model: str) -> Key | Wait:
        """A key for the one create of this attempt, or how long until one may be free.

        A create counts from here until the bucket's window after its answer was noted, so that the provider, which
        counts somewhere in between, never sees more than the bucket in any window; nor are more ever in flight.
        Exact over all replicas. The account with the least such creates goes first.
        """
        return await self._database.write(self._store.acquire, attempt_id, model)

    async def outlook(self, model: str) -> Wait:
        """How long acquire would have to wait now, without counting a create: 0 seconds when a key is free."""
        return await self._database.read(self._store.outlook, model)

    def configured(self, account: str, key_print: str = "") -> bool:
        """True when a key of the account is configured, or the key itself, whatever its account is called now."""
        return key_print in self._keys or any(key.account == account for key in self._keys.values())

    async def reader(self, account: str = "", key_print: str = "") -> Key | None:
        """A key of the account, or of any when empty, for reading; None when there is none.

        A key_print that is configured says better which account is meant, for a name may have changed.

        A resting account is still read. A key that the provider does not accept is never returned; one that rests for
        another cause, or that an operator disabled, only if its account has no better.
        """
        return await self._database.read(self._store.reader, account, key_print)

    async def refused(self, key: Key, code: int, retry_after: float | None, model: str = "") -> None:
        """Rest the key, its account, or the model at every account, by the code of a refusal.

        A 402 of an account that holds something rests account and model together, longer each time: what it holds does
        not suffice for this model, and may for others. The balance is read at once; the account rests only if it
        holds nothing, or if that is not known yet.

        A rest is never cut short by another; one that only a probe or a balance ends is not replaced by a timed one.
        """
        # Before what waits: until it is committed, others take the key, and the refusal waits to be recorded.
        await self._database.write_urgently(self._store.refused, key, code, retry_after, model)

    async def accepted(self, key: Key, model: str) -> None:
        """The provider took an order of the model: a rest of the two because of a 402 is forgotten."""
        if self._store.is_tried_again(key, model):  # else there is nothing to forget, and nothing is written
            await self._database.write(self._store.accepted, key, model)

    async def note_balance(self, key: Key, credits_left: float) -> None:
        """The provider answered this key with its account's balance.

        The key is accepted again, and so is an account that had run dry, if it holds more than nothing. One that holds
        nothing after a 402 has run dry. One that holds more than before is tried again with every model.
        """
        await self._database.write(self._store.note_balance, key, credits_left)

    async def due(self, balance_seconds: float, dry_seconds: float) -> Sequence[Key]:
        """Keys whose account's balance is to be read now, taken so that no other replica reads it at the same time.

        A key that was not accepted is due when its rest ends, and the next time later. An account is due every
        balance_seconds, or dry_seconds while it has run dry, by a key that reads.
        """
        if not await self._database.read(self._store.any_due, balance_seconds, dry_seconds):
            return ()  # so that an idle stack writes nothing
        return await self._database.write(self._store.take_due, balance_seconds, dry_seconds)

    def find(self, key_print: str) -> Key:
        """A configured key. Raises NotFound (reason KEY_NOT_FOUND)."""
        if key_print not in self._keys:
            raise NotFound(NO_KEY, "KEY_NOT_FOUND")
        return self._keys[key_print]

    async def status(self, key_print: str) -> KeyStatus:
        """The status of a key. Raises NotFound."""
        statuses = {key.print: key for key in (await self.listing()).keys}
        if key_print not in statuses:
            raise NotFound(NO_KEY, "KEY_NOT_FOUND")
        return statuses[key_print]

    async def listing(self) -> PoolStatus:
        """The status of all keys and accounts, with the accounts of which tasks wait but no key is configured."""
        return await self._database.read(self._store.listing)

    async def enable(self, key_print: str) -> KeyStatus:
        """Enable a key and end its rest. Raises NotFound."""
        await self._database.write(self._store.enable, self.find(key_print).print)
        return await self.status(key_print)

    async def disable(self, key_print: str) -> KeyStatus:
        """Disable a key until it is enabled. Raises NotFound."""
        await self._database.write(self._store.disable, self.find(key_print).print)
        return await self.status(key_print)


class BalanceReader(Protocol):
    """Reads accounts' balances at the provider."""

    async def credits(self, key: Key) -> float | Refused | Later:
        """The balance of the key's account, in the provider's credits. Costs nothing, never raises."""
