"""Keys, balances, shortages and refunds, on a clock that stands still."""

from decimal import Decimal

import pytest

from services.sandbox.refusals import RefusalError
from tests.sandbox.support import InProcess


@pytest.mark.parametrize(
    ("key", "account"),
    [("sandbox-key", "key"), ("sandbox-shop-2", "shop"), ("sandbox-my-shop-12", "my-shop"), ("sandbox-1", "1")],
)
def test_a_key_names_its_account(sandbox: InProcess, key: str, account: str) -> None:
    assert sandbox.accounts.authenticate(f"Bearer {key}") == account


@pytest.mark.parametrize("header", ["", "Bearer sk-live", "sandbox-key", "Bearer sandbox-", "Bearer sandbox-a b"])
def test_other_keys_are_refused(sandbox: InProcess, header: str) -> None:
    with pytest.raises(RefusalError) as caught:
        sandbox.accounts.authenticate(header)

    assert caught.value.code == 401


def test_a_revoked_key_leaves_the_accounts_other_keys_alone(sandbox: InProcess) -> None:
    sandbox.accounts.change("shop", None, revoked=None, revoked_keys=("sandbox-shop-1",))

    assert sandbox.accounts.authenticate("Bearer sandbox-shop-2") == "shop"
    with pytest.raises(RefusalError):
        sandbox.accounts.authenticate("Bearer sandbox-shop-1")


def test_a_revoked_account_is_locked_until_it_is_restored(sandbox: InProcess) -> None:
    sandbox.accounts.change("shop", None, revoked=True, revoked_keys=None)
    with pytest.raises(RefusalError):
        sandbox.accounts.authenticate("Bearer sandbox-shop")
    sandbox.accounts.change("shop", None, revoked=False, revoked_keys=None)

    assert sandbox.accounts.authenticate("Bearer sandbox-shop") == "shop"


def test_a_create_beyond_the_balance_is_refused_and_not_charged(sandbox: InProcess) -> None:
    sandbox.accounts.change("shop", Decimal("5.99"), revoked=None, revoked_keys=None)
    with pytest.raises(RefusalError) as caught:
        sandbox.create()

    assert caught.value.code == 402
    assert sandbox.accounts.balance("shop") == Decimal("5.99")


def test_for_some_seconds_after_a_scripted_402_the_balance_is_below_the_refused_cost(sandbox: InProcess) -> None:
    sandbox.accounts.authenticate("Bearer sandbox-shop")
    full = sandbox.accounts.balance("shop")
    sandbox.accounts.begin_shortage("shop", Decimal("6.00"))

    assert sandbox.accounts.balance("shop") == Decimal("5.99")
    with pytest.raises(RefusalError) as caught:
        sandbox.create()
    assert caught.value.code == 402
    sandbox.now += 5_000
    assert sandbox.accounts.balance("shop") == full
    sandbox.create()


def test_a_shortage_hides_no_smaller_balance_and_ends_with_new_credits(sandbox: InProcess) -> None:
    sandbox.accounts.change("shop", Decimal(2), revoked=None, revoked_keys=None)
    sandbox.accounts.begin_shortage("shop", Decimal("6.00"))
    assert sandbox.accounts.balance("shop") == Decimal(2)
    sandbox.accounts.change("shop", Decimal(50), revoked=None, revoked_keys=None)

    assert sandbox.accounts.balance("shop") == Decimal(50)


def test_a_failed_task_is_refunded_when_it_fails(sandbox: InProcess) -> None:
    sandbox.create("sim:fail")
    assert sandbox.accounts.balance("shop") == Decimal(14)
    sandbox.now += 3000

    assert sandbox.accounts.balance("shop") == Decimal(20)
