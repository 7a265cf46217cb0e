"""The pool against the real stand-in: never too fast for it, a dead key harms no task, a refilled account returns."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.notifier import Notifier
from services.generation.key_pool.health_checks import KeyHealthChecks
from services.generation.key_pool.pool import Key, Wait
from services.generation.model import FINAL, Generation, State
from services.generation.outcomes import Later, Refused
from services.generation.timing import Timing
from tests.generation.harness import Harness
from tests.generation.key_pool.support import MODEL, WINDOW_MS, RunningCore, draft, seen, turn, working
from tests.sandbox.support import Process
from tests.support.polling import eventually

TIMING = Timing(create_wait=5.0, first_poll=0.1, dry_balance=0.1)


def keys_of(account: str, count: int = 1) -> list[Key]:
    """Keys of an account of the stand-in."""
    return [Key.of(account, f"sandbox-{account}-{number}") for number in range(1, count + 1)]


async def finished(core: RunningCore, orders: Sequence[Generation], seconds: float) -> list[Generation]:
    """The orders once all are final."""
    async with asyncio.timeout(seconds):
        while True:
            now = [await core.store.get(order.id) for order in orders]
            if all(order.state in FINAL for order in now):
                return now
            await asyncio.sleep(0.2)


async def bills(upstream: Process, prompt: str) -> int:
    """How often the stand-in billed a prompt."""
    return len((await seen(upstream.url, "ledger", prompt=prompt))["entries"])


async def answers(upstream: Process, path: str) -> Counter[int]:
    """The codes that the stand-in has answered under a path, in bodies and as HTTP statuses, each how often."""
    asked = (await seen(upstream.url, "requests", path=path, limit=1000))["requests"]
    return Counter(code for request in asked for code in {request["code"], request["status"]})


async def test_a_key_that_its_check_finds_refused_rests_and_one_that_was_not_answered_does_not(
    harness: Harness,
) -> None:
    checks = KeyHealthChecks(harness.key_pool, harness.provider, harness.timing)
    refused, unanswered = (key.print for key in (await harness.key_pool.listing()).keys)
    harness.provider.balances |= {"one": Refused(401, "No access"), "two": Later("ConnectError")}

    status = await checks.probe(refused)
    with pytest.raises(Unavailable):
        await checks.probe(unanswered)

    assert status.cause_code == 401
    assert (await harness.key_pool.status(unanswered)).cause_code == 0


async def test_forty_orders_at_once_over_two_replicas_are_never_too_fast_for_the_upstream(
    sqlite_database: Database, notifier: Notifier, hasty_upstream: Process
) -> None:
    """The upstream counts in windows of a second, both replicas in longer ones: a busy machine stretches them."""
    upstream = hasty_upstream
    keys = keys_of("speed")
    prompts = [f"order {number} of forty" for number in range(40)]
    async with (
        working(sqlite_database, notifier, upstream.url, keys, TIMING, WINDOW_MS // 5) as first,
        working(sqlite_database, notifier, upstream.url, keys, TIMING, WINDOW_MS // 5) as second,
    ):
        labs = (first, second)
        created = await asyncio.gather(
            *(labs[number % 2].generations.create(draft(prompt), "") for number, prompt in enumerate(prompts))
        )
        ended = await finished(first, [placed.generation for placed in created], 60)

    assert Counter(order.state for order in ended) == {State.SUCCEEDED: 40}
    assert [await bills(upstream, prompt) for prompt in prompts] == [1] * 40
    answered = await answers(upstream, "/api/v1/gpt4o-image/generate")
    assert answered[200] >= 40
    assert answered[429] == 0


async def test_a_key_that_stops_working_rests_within_one_call_and_its_siblings_take_over(
    sqlite_database: Database, notifier: Notifier, upstream: Process
) -> None:
    keys = keys_of("family", 2)
    refused_before = (await answers(upstream, "/api/v1/"))[401]
    async with working(sqlite_database, notifier, upstream.url, keys, TIMING) as core:
        before = (await core.generations.create(draft("before the key dies sim:slow:2"), "")).generation
        await turn(upstream.url, "family", revoked_keys=[keys[0].value])
        after = [
            (await core.generations.create(draft(f"after the key died {number}"), "")).generation for number in range(3)
        ]
        ended = await finished(core, [before, *after], 30)
        pool = await core.pool.listing()

    refused = (await answers(upstream, "/api/v1/"))[401] - refused_before
    assert [order.state for order in ended] == [State.SUCCEEDED] * 4
    assert [key.cause_code for key in pool.keys] == [401, 0]
    assert 1 <= refused <= 2  # a read may have been under way at the same time as a create


async def test_a_task_is_read_by_a_sibling_when_its_own_key_is_refused_at_reading(
    sqlite_database: Database, notifier: Notifier, upstream: Process
) -> None:
    keys = keys_of("readers", 2)
    async with working(sqlite_database, notifier, upstream.url, keys, TIMING) as core:
        order = (await core.generations.create(draft("made by a key that dies sim:slow:1"), "")).generation
        await turn(upstream.url, "readers", revoked_keys=[keys[0].value])
        (ended,) = await finished(core, [order], 30)
        pool = await core.pool.listing()

    assert ended.state is State.SUCCEEDED
    assert [key.cause_code for key in pool.keys] == [401, 0]


async def test_an_account_without_credits_comes_back_by_itself_once_it_has_some(
    sqlite_database: Database, notifier: Notifier, upstream: Process
) -> None:
    await turn(upstream.url, "purse", credits=0)
    async with working(sqlite_database, notifier, upstream.url, keys_of("purse"), TIMING) as core:
        first = (await core.generations.create(draft("made once there is money"), "")).generation
        with pytest.raises(Unavailable) as caught:
            await core.generations.create(draft("sent away for want of money"), "")
        dry = await core.pool.listing()
        await turn(upstream.url, "purse", credits=100)
        (ended,) = await finished(core, [first], 30)
        back = await core.pool.listing()

    assert first.state is State.READY
    assert caught.value.reason == "UPSTREAM_UNAVAILABLE"
    assert (dry.accounts[0].cause_code, back.accounts[0].cause_code) == (402, 0)
    assert back.accounts[0].credits > 0
    assert ended.state is State.SUCCEEDED
    assert await bills(upstream, "made once there is money") == 1
    assert await bills(upstream, "sent away for want of money") == 0


async def test_a_dead_key_comes_back_by_itself_once_it_is_accepted_again(
    sqlite_database: Database, notifier: Notifier, upstream: Process
) -> None:
    (key,) = keys_of("lazarus")
    async with working(sqlite_database, notifier, upstream.url, [key], TIMING) as core:
        await core.pool.refused(key, 401, 0.1)

        async def back() -> bool:
            return await core.pool.outlook(MODEL) == Wait(0.0)

        await eventually(back)
        status = await core.pool.status(key.print)

    assert (status.cause_code, status.rest_until_ms) == (0, 0)
