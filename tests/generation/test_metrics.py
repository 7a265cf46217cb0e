"""What operators watch moves with the facts: counted once, when committed, and under labels that are bounded."""

import httpx
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.parking import nothing
from services.generation.key_pool.pool import AccountStatus, Key, KeyStatus, PoolStatus
from services.generation.metrics import OPEN, Backlog, Gauges
from services.generation.model import State
from services.generation.outcomes import Accepted, Ambiguous, Completed, NotSent, Outcome, Refused, Rejected, TaskFailed
from services.generation.providers import open_kie
from services.generation.providers.kie import HttpClient, Kie, Timeouts
from services.generation.stores.generations import SqlGenerationStore
from tests.generation.builders import brought, ordered
from tests.generation.harness import FAMILY, TEMPORARY, Harness, answering, unreachable
from tests.generation.upstream import Behaviour, Upstream, page, reply
from tests.support.awaited import Awaited
from tests.support.polling import eventually

KEY = Key.of("one", "key-of-one")


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Rise:
    """How far a sample has risen since."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = name, labels
        self._before = value(name, **labels)

    def __call__(self) -> float:
        return value(self._name, **self._labels) - self._before


async def drawn(harness: Harness) -> str:
    """A generation that has its picture."""
    stored = await harness.order()
    await harness.submit()
    task = (await harness.store.get(stored.id)).task_id
    harness.provider.records[task] = Completed((f"{TEMPORARY}0.png",))
    await harness.let_time_pass()
    await harness.poll()
    await harness.copy()
    return stored.id


async def test_a_picture_s_way_is_counted_and_each_phase_measured(harness: Harness) -> None:
    created = Rise("kawaii_generations_created_total", provider=FAMILY, model="gpt4o-image")
    finished = Rise("kawaii_generations_finished_total", state="SUCCEEDED", reason="")
    phases = [Rise("kawaii_generation_seconds_count", phase=phase) for phase in ("wait", "draw", "store")]
    identifier = await drawn(harness)

    assert (await harness.store.get(identifier)).state is State.SUCCEEDED
    assert (created(), finished()) == (1, 1)
    assert [phase() for phase in phases] == [1, 1, 1]


async def test_an_order_that_joins_another_is_not_counted(harness: Harness) -> None:
    created = Rise("kawaii_generations_created_total", provider=FAMILY, model="gpt4o-image")
    await harness.order("the same")
    await harness.order("the same")

    assert created() == 1


async def test_a_failure_is_counted_with_its_reason(harness: Harness) -> None:
    finished = Rise("kawaii_generations_finished_total", state="FAILED", reason="PROVIDER_FAILED")
    await harness.order()
    await harness.submit()
    harness.provider.records["task1"] = TaskFailed(501, "no")
    await harness.let_time_pass()
    await harness.poll()

    assert finished() == 1


@pytest.mark.parametrize(
    ("outcome", "label"),
    [
        (Accepted("task7"), "ACCEPTED"),
        (NotSent("ConnectError"), "NOT_SENT"),
        (Refused(429, "later"), "REFUSED"),
        (Rejected(422, "never"), "REJECTED"),
        (Ambiguous("ReadTimeout"), "AMBIGUOUS"),
    ],
)
async def test_an_attempt_is_counted_by_its_outcome(harness: Harness, outcome: Outcome, label: str) -> None:
    attempts = Rise("kawaii_attempts_total", outcome=label)
    harness.provider.scripts.append(unreachable(outcome) if isinstance(outcome, NotSent) else answering(outcome))
    await harness.order()
    await harness.submit()

    assert attempts() == 1


async def test_a_rest_is_counted_by_its_code_when_it_begins_or_grows(harness: Harness) -> None:
    cooldowns = Rise("kawaii_provider_key_cooldowns_total", code="455")
    for seconds in (60.0, 1.0):
        await harness.key_pool.refused(KEY, 455, seconds, "gpt4o-image")

    assert cooldowns() == 1


async def test_callbacks_are_counted_by_what_became_of_them_and_a_second_task_as_a_double_bill(
    harness: Harness,
) -> None:
    verdicts = {word: Rise("kawaii_callbacks_total", verdict=word) for word in ("done", "duplicate", "delivered")}
    doubles = Rise("kawaii_double_bills_observed_total")
    await harness.order()
    await harness.submit()
    (submit,) = harness.provider.submits
    harness.provider.records["another"] = Completed(("https://temporary.example/a.png",))
    async with harness.delivering():
        await harness.callback("task1", submit.token)
        await harness.callback("task1", submit.token)
        await eventually_is(1, verdicts["done"])  # first, for then nobody awaits this task any more
        await harness.callback("another", submit.token)
        await eventually_is(1, verdicts["delivered"])
        await eventually_is(1, verdicts["duplicate"])
        await eventually_is(1, doubles)

    assert [rise() for rise in (*verdicts.values(), doubles)] == [1, 1, 1, 1]


async def eventually_is(wanted: float, rise: Rise) -> None:
    async def there() -> bool:
        return rise() == wanted

    await eventually(there)


async def test_each_change_of_state_is_one_line_with_cause_and_duration_and_without_the_prompt(
    harness: Harness,
) -> None:
    with capture_logs() as lines:
        identifier = await drawn(harness)
    changes = [line for line in lines if line["event"] == "state_changed"]
    ways = [(line.get("from"), line["to"]) for line in changes]

    assert {line["generation"] for line in changes} == {identifier}
    assert ways == [
        (None, "READY"),
        ("READY", "DIALING"),
        ("DIALING", "SENDING"),
        ("SENDING", "RUNNING"),
        ("RUNNING", "STORING"),
        ("STORING", "SUCCEEDED"),
    ]
    assert all(line["seconds"] >= 0 and line["reason"] == "" for line in changes[1:])
    assert "a cat" not in str(lines)


async def test_a_look_that_changes_no_state_is_no_line(harness: Harness) -> None:
    await harness.order()
    await harness.submit()
    with capture_logs() as lines:
        await harness.let_time_pass()
        await harness.poll()

    assert not [line for line in lines if line["event"] == "state_changed"]


async def test_the_census_counts_what_is_open_and_how_long(store: Awaited, database: Database) -> None:
    await ordered(store)
    await ordered(store)
    for state in (State.UNKNOWN, State.SUCCEEDED, State.FAILED):
        await brought(store, state)
    backlog = await database.read(SqlGenerationStore().backlog)

    assert backlog.count == {State.READY: 2, State.UNKNOWN: 1}
    assert backlog.oldest_seconds.keys() == {State.READY, State.UNKNOWN}
    assert all(seconds >= 0 for seconds in backlog.oldest_seconds.values())
    assert backlog.inbox_seconds == 0


async def test_the_oldest_callback_that_waits_is_the_inbox_lag(harness: Harness) -> None:
    await harness.callback("nobodys")
    await until_old(harness)

    assert (await harness.store.backlog()).inbox_seconds > 0


async def until_old(harness: Harness) -> None:
    async def there() -> bool:
        return (await harness.store.backlog()).inbox_seconds > 0

    await eventually(there)


async def test_gauges_show_every_open_state_and_what_the_keys_are_good_for() -> None:
    async def backlog() -> Backlog:
        return Backlog({State.READY: 3}, {State.READY: 7.5}, 2.0)

    async def pool() -> PoolStatus:
        keys = [KeyStatus(word, "full") for word in ("a", "b")]
        keys += [KeyStatus("c", "dry"), KeyStatus("d", "full", rest_until_ms=9), KeyStatus("e", "dry", disabled=True)]
        return PoolStatus(tuple(keys), (AccountStatus("full"), AccountStatus("dry", 402, 9)))

    await Gauges(backlog, pool, nothing).refresh()

    assert {state: value("kawaii_generations_in_state", state=state) for state in OPEN} == {
        state: 3 if state is State.READY else 0 for state in OPEN
    }
    assert value("kawaii_oldest_generation_seconds", state="READY") == 7.5
    assert value("kawaii_inbox_lag_seconds") == 2
    states = ("active", "resting", "disabled")
    assert [value("kawaii_provider_keys", state=state) for state in states] == [2, 2, 1]


async def test_while_the_database_is_away_gauges_show_nothing_rather_than_the_past(harness: Harness) -> None:
    async def away() -> Backlog:
        raise Unavailable("The database is not reachable.")

    await harness.order()
    await Gauges(harness.store.backlog, harness.key_pool.listing, harness.parking.measure).refresh()
    shown = value("kawaii_generations_in_state", state="READY")
    await Gauges(away, harness.key_pool.listing, harness.parking.measure).refresh()

    assert shown == 1
    assert REGISTRY.get_sample_value("kawaii_generations_in_state", {"state": "READY"}) is None
    assert REGISTRY.get_sample_value("kawaii_provider_keys", {"state": "active"}) is None
    assert str(value("kawaii_inbox_lag_seconds")) == "nan"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (reply({"code": 200, "data": {}}), "200"),
        (reply({"code": 455, "msg": "away"}), "455"),
        (reply({"code": 123456, "msg": "odd"}), "other"),
        (page(524, b"<html>timeout</html>"), "not_json"),
    ],
)
async def test_what_the_provider_answers_is_counted_by_its_bounded_code(behaviour: Behaviour, code: str) -> None:
    requests = Rise("kawaii_provider_requests_total", provider="gpt4o-image", code=code)
    async with Upstream(behaviour) as upstream, open_kie(upstream.url) as kie:
        await kie.counted_as("gpt4o-image").read("/api/v1/x", {}, KEY)

    assert requests() == 1


async def test_a_provider_that_is_not_reached_is_counted_by_the_mishap() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    requests = Rise("kawaii_provider_requests_total", provider="kie", code="ConnectError")
    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as client:
        line = HttpClient(client, Timeouts(httpx.Timeout(1), 1))
        await Kie("http://provider.example", line, line).read("/api/v1/x", {}, KEY)

    assert requests() == 1
