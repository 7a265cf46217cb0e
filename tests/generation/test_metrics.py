"""What operators watch moves with the facts: counted once, when committed, and under labels that are bounded."""

import httpx
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.parking import nothing
from services.generation.answers import Accepted, Ambiguous, Broken, Drawn, NotSent, Outcome, Refused, Rejected
from services.generation.gauges import OPEN, Census, Gauges
from services.generation.keyring import AccountStatus, Key, KeyStatus, Pool
from services.generation.model import State
from services.generation.providers import open_kie
from services.generation.providers.kie import Kie, Line, Patience
from services.generation.stores import SqlCensus, SqlStore
from tests.generation.builders import brought, ordered
from tests.generation.town import FAMILY, TEMPORARY, Town, answering, unreachable
from tests.generation.upstream import Behaviour, Upstream, page, reply
from tests.generation.waiting import eventually

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


async def drawn(town: Town) -> str:
    """A generation that has its picture."""
    stored = await town.order()
    await town.submit()
    task = (await town.store.get(stored.id)).task_id
    town.provider.records[task] = Drawn((f"{TEMPORARY}0.png",))
    await town.let_time_pass()
    await town.poll()
    await town.keep()
    return stored.id


async def test_a_picture_s_way_is_counted_and_each_phase_measured(town: Town) -> None:
    created = Rise("kawaii_generations_created_total", provider=FAMILY, model="gpt4o-image")
    finished = Rise("kawaii_generations_finished_total", state="SUCCEEDED", reason="")
    phases = [Rise("kawaii_generation_seconds_count", phase=phase) for phase in ("wait", "draw", "store")]
    identifier = await drawn(town)

    assert (await town.store.get(identifier)).state is State.SUCCEEDED
    assert (created(), finished()) == (1, 1)
    assert [phase() for phase in phases] == [1, 1, 1]


async def test_an_order_that_joins_another_is_not_counted(town: Town) -> None:
    created = Rise("kawaii_generations_created_total", provider=FAMILY, model="gpt4o-image")
    await town.order("the same")
    await town.order("the same")

    assert created() == 1


async def test_a_failure_is_counted_with_its_reason(town: Town) -> None:
    finished = Rise("kawaii_generations_finished_total", state="FAILED", reason="PROVIDER_FAILED")
    await town.order()
    await town.submit()
    town.provider.records["task1"] = Broken(501, "no")
    await town.let_time_pass()
    await town.poll()

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
async def test_an_attempt_is_counted_by_its_outcome(town: Town, outcome: Outcome, label: str) -> None:
    attempts = Rise("kawaii_attempts_total", outcome=label)
    town.provider.scripts.append(unreachable(outcome) if isinstance(outcome, NotSent) else answering(outcome))
    await town.order()
    await town.submit()

    assert attempts() == 1


async def test_a_rest_is_counted_by_its_code_when_it_begins_or_grows(town: Town) -> None:
    cooldowns = Rise("kawaii_provider_key_cooldowns_total", code="455")
    for seconds in (60.0, 1.0):
        await town.keys.refused(KEY, 455, seconds, "gpt4o-image")

    assert cooldowns() == 1


async def test_webhooks_are_counted_by_what_became_of_them_and_a_second_task_as_a_double_bill(town: Town) -> None:
    verdicts = {word: Rise("kawaii_callbacks_total", verdict=word) for word in ("done", "duplicate", "delivered")}
    doubles = Rise("kawaii_double_bills_observed_total")
    await town.order()
    await town.submit()
    (submit,) = town.provider.submits
    town.provider.records["another"] = Drawn(("https://temporary.example/a.png",))
    async with town.delivering():
        await town.callback("task1", submit.token)
        await town.callback("task1", submit.token)
        await town.callback("another", submit.token)
        await eventually_is(1, verdicts["delivered"])
        await eventually_is(1, verdicts["done"])

    assert verdicts["duplicate"]() == 1
    assert doubles() == 1


async def eventually_is(wanted: float, rise: Rise) -> None:
    async def there() -> bool:
        return rise() == wanted

    await eventually(there)


async def test_each_change_of_state_is_one_line_with_cause_and_duration_and_without_the_prompt(town: Town) -> None:
    with capture_logs() as lines:
        identifier = await drawn(town)
    told = [line for line in lines if line["event"] == "state_changed"]
    ways = [(line.get("from"), line["to"]) for line in told]

    assert {line["generation"] for line in told} == {identifier}
    assert ways == [
        (None, "READY"),
        ("READY", "DIALING"),
        ("DIALING", "SENDING"),
        ("SENDING", "RUNNING"),
        ("RUNNING", "STORING"),
        ("STORING", "SUCCEEDED"),
    ]
    assert all(line["seconds"] >= 0 and line["reason"] == "" for line in told[1:])
    assert "a cat" not in str(lines)


async def test_a_look_that_changes_no_state_is_no_line(town: Town) -> None:
    await town.order()
    await town.submit()
    with capture_logs() as lines:
        await town.let_time_pass()
        await town.poll()

    assert not [line for line in lines if line["event"] == "state_changed"]


async def test_the_census_counts_what_is_open_and_how_long(store: SqlStore, database: Database) -> None:
    await ordered(store)
    await ordered(store)
    for state in (State.UNKNOWN, State.SUCCEEDED, State.FAILED):
        await brought(store, state)
    census = await SqlCensus(database).take()

    assert census.count == {State.READY: 2, State.UNKNOWN: 1}
    assert census.oldest_seconds.keys() == {State.READY, State.UNKNOWN}
    assert all(seconds >= 0 for seconds in census.oldest_seconds.values())
    assert census.inbox_seconds == 0


async def test_the_oldest_webhook_that_waits_is_the_inbox_lag(town: Town) -> None:
    await town.callback("nobodys")
    await until_old(town)

    assert (await SqlCensus(town.database).take()).inbox_seconds > 0


async def until_old(town: Town) -> None:
    async def there() -> bool:
        return (await SqlCensus(town.database).take()).inbox_seconds > 0

    await eventually(there)


async def test_gauges_show_every_open_state_and_what_the_keys_are_good_for() -> None:
    async def census() -> Census:
        return Census({State.READY: 3}, {State.READY: 7.5}, 2.0)

    async def pool() -> Pool:
        keys = [KeyStatus(word, "full") for word in ("a", "b")]
        keys += [KeyStatus("c", "dry"), KeyStatus("d", "full", rest_until_ms=9), KeyStatus("e", "dry", disabled=True)]
        return Pool(tuple(keys), (AccountStatus("full"), AccountStatus("dry", 402, 9)))

    await Gauges(census, pool, nothing).refresh()

    assert {state: value("kawaii_generations_in_state", state=state) for state in OPEN} == {
        state: 3 if state is State.READY else 0 for state in OPEN
    }
    assert value("kawaii_oldest_generation_seconds", state="READY") == 7.5
    assert value("kawaii_inbox_lag_seconds") == 2
    states = ("active", "resting", "disabled")
    assert [value("kawaii_provider_keys", state=state) for state in states] == [2, 2, 1]


async def test_while_the_database_is_away_gauges_show_nothing_rather_than_the_past(town: Town) -> None:
    async def away() -> Census:
        raise Unavailable("The database is not reachable.")

    await town.order()
    await Gauges(SqlCensus(town.database).take, town.keys.listing, town.parking.measure).refresh()
    shown = value("kawaii_generations_in_state", state="READY")
    await Gauges(away, town.keys.listing, town.parking.measure).refresh()

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
        line = Line(client, Patience(httpx.Timeout(1), 1))
        await Kie("http://provider.example", line, line).read("/api/v1/x", {}, KEY)

    assert requests() == 1
