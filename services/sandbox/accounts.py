"""Accounts: whose key a call carries, how many credits are left, and what the control routes change about them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from services.sandbox.model import Account, Rules
from services.sandbox.refusals import NO_ACCESS, RefusalError
from services.sandbox.store import Clock, Store

KEY = re.compile(r"Bearer (sandbox-([A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*?)(?:-\d+)?)")
"""`sandbox-ACCOUNT` or `sandbox-ACCOUNT-NUMBER`: an account may have many keys."""
SHORTAGE_MS = 5_000  # how long the balance agrees with a scripted 402: any reader of the balance sees it by then
SMALLEST = Decimal("0.01")  # of a credit


class Accounts:
    """Authenticates keys and keeps balances. An account is opened when one of its keys is first used."""

    def __init__(self, store: Store, rules: Rules, clock: Clock) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._shortages: Mapping[str, tuple[int, Decimal]] = {}  # until when, and the most that is shown

    def authenticate(self, authorization: str) -> str:
        """The name of the account whose key an Authorization header carries.

        Raises:
            RefusalError: 401 for a key that is not the sandbox's, or was revoked.
        """
        match = KEY.fullmatch(authorization)
        if match is None:
            raise RefusalError(401, NO_ACCESS)
        key, name = match.groups()
        account = self._opened(name)
        if account.revoked or key in account.revoked_keys:
            raise RefusalError(401, NO_ACCESS)
        return name

    def balance(self, name: str) -> Decimal:
        """Credits that are shown and may be spent; for a while after a scripted 402 less than that call costs."""
        now = self._clock.now_ms()
        left = self._store.account(name, now).balance
        until_ms, most = self._shortages.get(name, (0, left))
        return min(left, most) if now < until_ms else left

    def begin_shortage(self, name: str, cost: Decimal) -> None:
        """Makes the balance agree with a scripted 402: for SHORTAGE_MS it is below a cost."""
        shortage = self._clock.now_ms() + SHORTAGE_MS, max(cost - SMALLEST, Decimal(0))
        self._shortages = {**self._shortages, name: shortage}

    def end_shortages(self) -> None:
        """Shows the true balance of every account again."""
        self._shortages = {}

    def change(
        self, name: str, balance: Decimal | None, *, revoked: bool | None, revoked_keys: tuple[str, ...] | None
    ) -> Account:
        """Changes an account, which is opened when missing.

        None leaves a field as it is. A new balance ends the account's shortage.
        """
        account = self._opened(name)
        changed = replace(
            account,
            granted=account.granted if balance is None else account.granted + balance - account.balance,
            revoked=account.revoked if revoked is None else revoked,
            revoked_keys=account.revoked_keys if revoked_keys is None else revoked_keys,
        )
        self._store.update_account(changed)
        if balance is not None:
            self._shortages = {other: shortage for other, shortage in self._shortages.items() if other != name}
        return changed

    def _opened(self, name: str) -> Account:
        self._store.open_account(name, self._rules.credits)
        return self._store.account(name, self._clock.now_ms())
