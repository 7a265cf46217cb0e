"""Accounts, limits, bills and time, on a clock that stands still."""

from decimal import Decimal

import pytest

from services.sandbox.doors import FAMILIES
from services.sandbox.model import Phase, RefusalError, Step, Task, View
from services.sandbox.refusals import Page
from tests.sandbox.support import START_MS, Bench

FAMILY = "gpt4o_image"


def create(bench: Bench, prompt: str = "a cat", account: str = "shop") -> Task:
    call = bench.sandbox.begin(account, FAMILY, prompt)
    body = {"prompt": prompt, "size": "1:1", "callBackUrl": "http://127.0.0.1:9/"}
    return bench.sandbox.create(call, FAMILIES[FAMILY].draft(body))


def view(bench: Bench, task: Task) -> View:
    seen = bench.sandbox.record(task.account, FAMILY, task.id)
    assert isinstance(seen, View)
    return seen


@pytest.mark.parametrize(
    ("key", "account"),
    [("sandbox-key", "key"), ("sandbox-shop-2", "shop"), ("sandbox-my-shop-12", "my-shop"), ("sandbox-1", "1")],
)
def test_a_key_names_its_account(bench: Bench, key: str, account: str) -> None:
    assert bench.sandbox.admit(f"Bearer {key}") == account


@pytest.mark.parametrize("header", ["", "Bearer sk-live", "sandbox-key", "Bearer sandbox-", "Bearer sandbox-a b"])
def test_other_keys_are_refused(bench: Bench, header: str) -> None:
    with pytest.raises(RefusalError) as caught:
        bench.sandbox.admit(header)

    assert caught.value.code == 401


def test_a_revoked_key_leaves_its_sibling_alone(bench: Bench) -> None:
    bench.control.set_account("shop", None, revoked=None, revoked_keys=("sandbox-shop-1",))

    assert bench.sandbox.admit("Bearer sandbox-shop-2") == "shop"
    with pytest.raises(RefusalError):
        bench.sandbox.admit("Bearer sandbox-shop-1")


def test_a_revoked_account_is_locked_until_it_is_restored(bench: Bench) -> None:
    bench.control.set_account("shop", None, revoked=True, revoked_keys=None)
    with pytest.raises(RefusalError):
        bench.sandbox.admit("Bearer sandbox-shop")
    bench.control.set_account("shop", None, revoked=False, revoked_keys=None)

    assert bench.sandbox.admit("Bearer sandbox-shop") == "shop"


def test_the_twenty_first_create_in_ten_seconds_is_refused_and_not_charged(bench: Bench) -> None:
    bench.control.set_account("shop", Decimal(1000), revoked=None, revoked_keys=None)
    for _ in range(20):
        create(bench)
    with pytest.raises(RefusalError) as caught:
        create(bench)

    assert caught.value.code == 429
    assert bench.control.ledger("a cat", None)["totals"] == {"entries": 20, "credits": Decimal("120.00")}


def test_the_limit_slides(bench: Bench) -> None:
    bench.control.set_account("shop", Decimal(1000), revoked=None, revoked_keys=None)
    for _ in range(20):
        create(bench)
    bench.now += 10_000

    assert create(bench).create_ms == bench.now


def test_an_empty_purse_is_refused(bench: Bench) -> None:
    bench.control.set_account("shop", Decimal("5.99"), revoked=None, revoked_keys=None)
    with pytest.raises(RefusalError) as caught:
        create(bench)

    assert caught.value.code == 402
    assert bench.sandbox.balance("shop") == Decimal("5.99")


def test_a_scripted_402_leaves_too_little_for_the_order_for_some_seconds(bench: Bench) -> None:
    bench.sandbox.admit("Bearer sandbox-shop")
    full = bench.sandbox.balance("shop")
    bench.sandbox.run_short("shop", Decimal("6.00"))

    assert bench.sandbox.balance("shop") == Decimal("5.99")
    with pytest.raises(RefusalError) as caught:
        create(bench)
    assert caught.value.code == 402
    bench.now += 5_000
    assert bench.sandbox.balance("shop") == full
    create(bench)


def test_a_shortage_hides_no_smaller_balance_and_ends_with_new_credits(bench: Bench) -> None:
    bench.control.set_account("shop", Decimal(2), revoked=None, revoked_keys=None)
    bench.sandbox.run_short("shop", Decimal("6.00"))
    assert bench.sandbox.balance("shop") == Decimal(2)
    bench.control.set_account("shop", Decimal(50), revoked=None, revoked_keys=None)

    assert bench.sandbox.balance("shop") == Decimal(50)


def test_a_failed_task_is_paid_back_when_it_fails(bench: Bench) -> None:
    create(bench, "sim:fail")
    assert bench.sandbox.balance("shop") == Decimal(14)
    bench.now += 3000

    assert bench.sandbox.balance("shop") == Decimal(20)


def test_a_task_belongs_to_its_account(bench: Bench) -> None:
    task = create(bench)
    bench.sandbox.admit("Bearer sandbox-rival")
    with pytest.raises(RefusalError, match="recordInfo is null"):
        bench.sandbox.record("rival", FAMILY, task.id)


def test_a_fourth_read_within_a_second_is_refused(bench: Bench) -> None:
    task = create(bench)
    for _ in range(3):
        view(bench, task)
    with pytest.raises(RefusalError) as caught:
        view(bench, task)
    bench.now += 1000

    assert caught.value.code == 429
    assert view(bench, task).phase is Phase.RUNNING


def test_progress_follows_the_clock(bench: Bench) -> None:
    task = create(bench)
    bench.now += 1500
    halfway = view(bench, task)
    bench.now += 1500

    assert (halfway.phase, halfway.task.progress(halfway.now_ms)) == (Phase.RUNNING, 0.5)
    assert view(bench, task).phase is Phase.SUCCEEDED


def test_a_stuck_task_never_ends(bench: Bench) -> None:
    task = create(bench, "sim:stuck")
    bench.now += 86_400_000

    assert view(bench, task).phase is Phase.RUNNING
    assert task.progress(bench.now) == 0.99
    assert bench.store.deliveries.planned(task.id) == 0


def test_an_invisible_task_is_null_at_first(bench: Bench) -> None:
    task = create(bench, "sim:invisible:2")
    with pytest.raises(RefusalError, match="recordInfo is null"):
        view(bench, task)
    bench.now += 2000

    assert view(bench, task).phase is Phase.RUNNING


def test_success_may_come_before_its_urls(bench: Bench) -> None:
    task = create(bench, "sim:success-no-url:5")
    bench.now += 3000
    early = view(bench, task)
    bench.now += 5000

    assert (early.phase, early.urls) == (Phase.SUCCEEDED, ())
    assert len(view(bench, task).urls) == 1


def test_a_task_may_be_called_failed_before_it_succeeds(bench: Bench) -> None:
    task = create(bench, "sim:fail-then-ok:5")
    bench.now += 3000
    early = view(bench, task)
    bench.now += 5000
    late = view(bench, task)

    assert (early.phase, early.urls) == (Phase.FAILED, ())
    assert (late.phase, len(late.urls)) == (Phase.SUCCEEDED, 1)
    assert (task.verdicts(), task.callbacks_ms()) == ((False, True), (START_MS + 3000, START_MS + 8000))
    assert bench.sandbox.balance("shop") == Decimal(14)


@pytest.mark.parametrize("step", ["reply-earlier-id", "reply-foreign-id", "reply-unknown-id"])
def test_a_reply_may_name_another_id_than_the_tasks_own(bench: Bench, step: str) -> None:
    bench.sandbox.admit("Bearer sandbox-rival")
    foreign = create(bench, account="shop" if step == "reply-earlier-id" else "rival")
    task = create(bench, f"sim:{step}")
    named = bench.sandbox.replied_id(task)

    assert named != task.id
    assert (named == foreign.id) is (step != "reply-unknown-id")
    assert bench.sandbox.replied_id(foreign) == foreign.id


def test_a_read_may_be_scripted_to_fail(bench: Bench) -> None:
    task = create(bench, "sim:read-html502:1,slow:2")

    assert isinstance(bench.sandbox.record("shop", FAMILY, task.id), Page)
    assert view(bench, task).phase is Phase.RUNNING


def test_a_prompts_script_goes_on_from_create_to_create(bench: Bench) -> None:
    prompt = "a cat sim:429 then reset-after then ok"
    texts = [bench.sandbox.begin("shop", FAMILY, prompt).step.text for _ in range(4)]

    assert texts == ["429", "reset-after", "ok", "ok"]


def test_without_a_script_it_is_a_good_day(bench: Bench) -> None:
    assert bench.sandbox.begin("shop", FAMILY, "a cat").step == Step()


def test_the_clock_can_be_put_forward(bench: Bench) -> None:
    task = create(bench)
    bench.control.advance(3000)

    assert view(bench, task).phase is Phase.SUCCEEDED
    assert bench.sandbox.now_ms() == START_MS + 3000
