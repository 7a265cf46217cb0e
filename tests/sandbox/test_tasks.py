"""Scripts, limits, bills and progress, on a clock that stands still."""

import re
from decimal import Decimal

import pytest

from services.sandbox.model import Phase, Step, Task, View
from services.sandbox.refusals import Page, RefusalError
from services.sandbox.routes.control import ledger_of
from tests.sandbox.support import START_MS, InProcess

FAMILY = "gpt4o_image"


def view(sandbox: InProcess, task: Task) -> View:
    seen = sandbox.tasks.record(task.account, FAMILY, task.id)
    assert isinstance(seen, View)
    return seen


def test_the_twenty_first_create_in_ten_seconds_is_refused_and_not_charged(sandbox: InProcess) -> None:
    sandbox.accounts.change("shop", Decimal(1000), revoked=None, revoked_keys=None)
    for _ in range(20):
        sandbox.create()
    with pytest.raises(RefusalError) as caught:
        sandbox.create()

    assert caught.value.code == 429
    assert ledger_of(sandbox.store, sandbox.now, "a cat")["totals"] == {"entries": 20, "credits": Decimal("120.00")}


def test_the_window_of_the_create_limit_slides(sandbox: InProcess) -> None:
    sandbox.accounts.change("shop", Decimal(1000), revoked=None, revoked_keys=None)
    for _ in range(20):
        sandbox.create()
    sandbox.now += 10_000

    assert sandbox.create().create_ms == sandbox.now


def test_a_task_belongs_to_its_account(sandbox: InProcess) -> None:
    task = sandbox.create()
    sandbox.accounts.authenticate("Bearer sandbox-rival")
    with pytest.raises(RefusalError, match="recordInfo is null"):
        sandbox.tasks.record("rival", FAMILY, task.id)


def test_a_fourth_read_within_a_second_is_refused(sandbox: InProcess) -> None:
    task = sandbox.create()
    for _ in range(3):
        view(sandbox, task)
    with pytest.raises(RefusalError) as caught:
        view(sandbox, task)
    sandbox.now += 1000

    assert caught.value.code == 429
    assert view(sandbox, task).phase is Phase.RUNNING


def test_progress_follows_the_clock(sandbox: InProcess) -> None:
    task = sandbox.create()
    sandbox.now += 1500
    halfway = view(sandbox, task)
    sandbox.now += 1500

    assert (halfway.phase, halfway.task.progress(halfway.now_ms)) == (Phase.RUNNING, 0.5)
    assert view(sandbox, task).phase is Phase.SUCCEEDED


def test_a_stuck_task_never_ends(sandbox: InProcess) -> None:
    task = sandbox.create("sim:stuck")
    sandbox.now += 86_400_000

    assert view(sandbox, task).phase is Phase.RUNNING
    assert task.progress(sandbox.now) == 0.99
    assert sandbox.store.count_deliveries(task.id) == 0


def test_the_record_of_an_invisible_task_is_null_at_first(sandbox: InProcess) -> None:
    task = sandbox.create("sim:invisible:2")
    with pytest.raises(RefusalError, match="recordInfo is null"):
        view(sandbox, task)
    sandbox.now += 2000

    assert view(sandbox, task).phase is Phase.RUNNING


def test_success_may_come_before_its_urls(sandbox: InProcess) -> None:
    task = sandbox.create("sim:success-no-url:5")
    sandbox.now += 3000
    early = view(sandbox, task)
    sandbox.now += 5000

    assert (early.phase, early.urls) == (Phase.SUCCEEDED, ())
    assert len(view(sandbox, task).urls) == 1


def test_a_record_may_say_failed_before_it_says_success(sandbox: InProcess) -> None:
    task = sandbox.create("sim:fail-then-ok:5")
    sandbox.now += 3000
    early = view(sandbox, task)
    sandbox.now += 5000
    late = view(sandbox, task)

    assert (early.phase, early.urls) == (Phase.FAILED, ())
    assert (late.phase, len(late.urls)) == (Phase.SUCCEEDED, 1)
    assert task.callbacks() == [(False, START_MS + 3000), (True, START_MS + 8000)]
    assert sandbox.accounts.balance("shop") == Decimal(14)


@pytest.mark.parametrize("step", ["reply-earlier-id", "reply-foreign-id", "reply-unknown-id"])
def test_a_reply_may_name_another_id_than_the_tasks_own(sandbox: InProcess, step: str) -> None:
    sandbox.accounts.authenticate("Bearer sandbox-rival")
    foreign = sandbox.create(account="shop" if step == "reply-earlier-id" else "rival")
    task = sandbox.create(f"sim:{step}")
    named = sandbox.tasks.replied_id(task)

    assert named != task.id
    assert (named == foreign.id) is (step != "reply-unknown-id")
    assert sandbox.tasks.replied_id(foreign) == foreign.id


def test_a_read_may_be_scripted_to_fail(sandbox: InProcess) -> None:
    task = sandbox.create("sim:read-html502:1,slow:2")

    assert isinstance(sandbox.tasks.record("shop", FAMILY, task.id), Page)
    assert view(sandbox, task).phase is Phase.RUNNING


def test_each_create_with_the_same_prompt_gets_the_next_step_of_its_script(sandbox: InProcess) -> None:
    prompt = "a cat sim:429 then reset-after then ok"
    texts = [sandbox.tasks.begin("shop", FAMILY, prompt).step.text for _ in range(4)]

    assert texts == ["429", "reset-after", "ok", "ok"]


def test_a_create_without_a_script_succeeds(sandbox: InProcess) -> None:
    assert sandbox.tasks.begin("shop", FAMILY, "a cat").step == Step()


def test_the_clock_can_be_put_forward(sandbox: InProcess) -> None:
    task = sandbox.create()
    sandbox.store.advance_clock(3000)

    assert view(sandbox, task).phase is Phase.SUCCEEDED
    assert sandbox.clock.now_ms() == START_MS + 3000


def test_result_paths_have_the_shapes_that_callers_of_kie_report(sandbox: InProcess) -> None:
    nano = sandbox.create(family="market_jobs", model="google/nano-banana", input={"prompt": "a cat"})
    flux = sandbox.create(family="flux_kontext")
    task = sandbox.create()

    assert re.fullmatch(rf"s/{task.id}_0_\d{{10}}_\d{{4}}\.png", sandbox.store.results(task.id)[0].path)
    assert re.fullmatch(r"workers/nano/image_\d{13}_\w{6}\.png", sandbox.store.results(nano.id)[0].path)
    assert re.fullmatch(r"r/[0-9a-f]{32}_\d{10}_\w{8}\.jpeg", sandbox.store.results(flux.id)[0].path)
