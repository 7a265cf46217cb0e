"""Accounts are named by their keys, stored names follow the settings, and tasks wait for an account that is away."""

from dataclasses import replace
from typing import Any

import pytest
import structlog
from sqlalchemy import insert, select, update

from services.chassis.database import Database
from services.generation.core.timeline import Timeline
from services.generation.key_pool.pool import Key, KeyPool, account_of
from services.generation.metrics import MISSING, show_keys
from services.generation.model import State
from services.generation.outcomes import Completed, InProgress
from services.generation.settings import GenerationSettings, warn
from services.generation.stores.key_pool import open_key_pool
from services.generation.stores.tables import attempt, create_mark, provider_account, provider_key
from tests.generation.harness import TEMPORARY, Harness
from tests.generation.key_pool.support import CREATES, MODEL
from tests.support.sql import execute, fetch_all

ONE, TWO, THREE = (Key.of("", f"secret-{number}") for number in (1, 2, 3))


def unnamed(*keys: Key) -> list[Key]:
    """The keys as the settings have them without KIE_ACCOUNTS."""
    return [replace(key, account=account_of(key.print)) for key in keys]


def named(**keys: Key) -> list[Key]:
    """The keys with the names of their accounts."""
    return [replace(key, account=account) for account, key in keys.items()]


def positional(*keys: Key) -> list[Key]:
    """The keys as they were named before: by where they stand."""
    return [replace(key, account=f"account-{number}") for number, key in enumerate(keys, 1)]


async def restarted(harness: Harness, keys: list[Key]) -> Harness:
    """The same data under other settings."""
    harness.key_pool = await open_key_pool(harness.database, keys, CREATES)
    return harness


async def in_flight(harness: Harness) -> str:
    """A task of the first key that may take one, which its provider shows to its account only."""
    order = await harness.order()
    await harness.submit()
    running = await harness.store.get(order.id)
    harness.provider.records[running.task_id] = InProgress(10)
    return running.id


async def stored(database: Database, *columns: Any) -> list[tuple[Any, ...]]:
    """Rows as they lie there."""
    return [tuple(row) for row in await fetch_all(database, select(*columns).order_by(*columns))]


async def test_stored_positions_become_names_and_repeating_it_changes_nothing(harness: Harness) -> None:
    await restarted(harness, positional(ONE, TWO))
    for _ in range(2):
        await in_flight(harness)
    await harness.key_pool.refused(replace(TWO, account="account-2"), 455, None)
    accounts = sorted(key.account for key in unnamed(ONE, TWO))
    for _ in range(2):
        await restarted(harness, unnamed(ONE, TWO))

        listing = await harness.key_pool.listing()
        assert sorted(row[0] for row in await stored(harness.database, attempt.c.account)) == accounts
        assert sorted(row[0] for row in await stored(harness.database, create_mark.c.account)) == accounts
        assert {account.name: account.cause_code for account in listing.accounts} == {
            account_of(ONE.print): 0,
            account_of(TWO.print): 455,
        }
        assert [account.recent for account in listing.accounts] == [1, 1]


async def test_a_position_that_is_another_keys_today_is_mapped_by_the_key_that_ordered(harness: Harness) -> None:
    """Keys one, two and three of which the second goes: account-2 was the second's, whatever stands there now."""
    await restarted(harness, positional(TWO))
    task = await in_flight(harness)
    await restarted(harness, unnamed(ONE, THREE))
    (waiting,) = [account for account in (await harness.key_pool.listing()).accounts if account.missing]

    assert waiting.name == account_of(TWO.print)
    assert waiting.waiting_tasks == 1
    assert (await harness.store.get(task)).state is State.RUNNING


async def test_names_that_are_given_later_take_over_what_was_stored(harness: Harness) -> None:
    await restarted(harness, unnamed(ONE))
    await in_flight(harness)
    await restarted(harness, named(main=ONE))
    by_name = await stored(harness.database, attempt.c.account)
    await restarted(harness, named(main=TWO))

    assert by_name == [("main",)]
    assert await harness.key_pool.reader("main", ONE.print) == replace(TWO, account="main")


async def test_names_that_look_like_positions_stay_when_they_are_given(harness: Harness) -> None:
    given = [replace(ONE, account="account-2"), replace(TWO, account="account-1")]
    await restarted(harness, given)
    await in_flight(harness)
    before = await stored(harness.database, attempt.c.account, attempt.c.key_print)
    await restarted(harness, given)

    assert await stored(harness.database, attempt.c.account, attempt.c.key_print) == before


async def test_an_attempt_that_an_older_replica_wrote_meanwhile_is_read_with_its_key(harness: Harness) -> None:
    await restarted(harness, unnamed(ONE, TWO))

    assert await harness.key_pool.reader("account-1", TWO.print) == replace(TWO, account=account_of(TWO.print))


async def test_a_task_waits_for_its_account_and_goes_on_when_it_is_back(harness: Harness) -> None:
    """No other account's key sees the task, so that none may be asked about it."""
    await restarted(harness, unnamed(ONE))
    task = await in_flight(harness)
    await restarted(harness, unnamed(TWO))
    await harness.let_time_pass()
    await harness.poll()
    waiting = await harness.store.get(task)
    show_keys(await harness.key_pool.listing())
    entries = await Timeline(
        harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking
    ).explain(task)

    assert waiting.state is State.RUNNING
    assert harness.provider.fetches == []
    assert MISSING.collect()[0].samples[0].value == 1
    assert entries[-1].kind == "waiting"
    assert account_of(ONE.print) in entries[-1].text

    harness.provider.records[waiting.task_id] = Completed((f"{TEMPORARY}a.png",))
    await restarted(harness, unnamed(TWO, ONE))
    await harness.poll()

    assert (await harness.store.get(task)).state is State.STORING
    show_keys(await harness.key_pool.listing())
    assert MISSING.collect()[0].samples[0].value == 0


async def test_a_task_that_waits_too_long_for_its_account_says_why_and_still_goes_on(harness: Harness) -> None:
    await restarted(harness, unnamed(ONE))
    harness.lose_patience()
    task = await in_flight(harness)
    await restarted(harness, unnamed(TWO))
    await harness.let_time_pass()
    await harness.poll()
    waiting = await harness.store.get(task)
    harness.provider.records[waiting.task_id] = Completed((f"{TEMPORARY}a.png",))
    await restarted(harness, unnamed(ONE, TWO))
    await harness.poll()

    assert waiting.state is State.UNKNOWN
    assert waiting.failure
    assert waiting.failure.reason == "ACCOUNT_MISSING"
    assert (await harness.store.get(task)).state is State.STORING


async def test_an_old_row_without_its_attempt_is_no_obstacle(database: Database) -> None:
    """A replica died between taking a key and dialling."""
    await execute(database, insert(provider_account).values(name="account-1"))
    row = {"print": ONE.print, "account": "account-1", "position": 0}
    await execute(database, insert(provider_key).values(row))
    await execute(database, insert(create_mark).values(attempt_id="att_1", account="account-1", at_ms=1))
    opened = await open_key_pool(database, unnamed(ONE), CREATES)

    assert [account.name for account in (await opened.listing()).accounts] == [account_of(ONE.print)]


async def test_a_rest_goes_along_with_a_renamed_account(database: Database) -> None:
    keys = await open_key_pool(database, positional(ONE), CREATES)
    await keys.refused(positional(ONE)[0], 455, None)
    renamed: KeyPool = await open_key_pool(database, named(main=ONE), CREATES)

    assert (await renamed.outlook(MODEL)).code == 455


@pytest.mark.parametrize(("accounts", "warned"), [("", True), ("main", False)])
async def test_the_start_says_what_rotating_a_key_needs(single: KeyPool, accounts: str, *, warned: bool) -> None:
    settings = GenerationSettings(
        _env_file=None, KIE_AI_API_KEY="secret", generation_daily_quota=1, kie_accounts=accounts
    )
    with structlog.testing.capture_logs() as logs:
        warn(settings, await single.listing())

    assert [line["event"] == "accounts_not_named" for line in logs] == [True] * warned
    assert all("secret" not in repr(line) for line in logs)


async def test_the_start_names_accounts_that_tasks_wait_for(harness: Harness) -> None:
    await restarted(harness, unnamed(ONE))
    await in_flight(harness)
    await execute(harness.database, update(attempt).values(account="gone", key_print="gone"))
    settings = GenerationSettings(
        _env_file=None, KIE_AI_API_KEY="secret", generation_daily_quota=1, kie_accounts="main"
    )
    with structlog.testing.capture_logs() as logs:
        warn(settings, await harness.key_pool.listing())

    assert [(line["event"], line["account"], line["tasks"]) for line in logs] == [("account_missing", "gone", 1)]
