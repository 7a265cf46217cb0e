"""A fleet of hosts loses a member, restarts all and exchanges its certificates, and a client does not notice."""

from collections.abc import Iterator

import pytest

from tests.fleet import scenarios
from tests.fleet.fleet import KINDS, Fleet, fleet
from tests.fleet.network import NoNamespacesError, require_namespaces
from tests.fleet.scenarios import Row, scenario

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]  # thirteen processes start on two cores
RATE = 15.0
DEAD_SECONDS = 2.0
SPAN_SECONDS = 10.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    try:
        require_namespaces()
    except NoNamespacesError as reason:
        pytest.skip(str(reason))
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture(scope="module")
def paths(running: Fleet) -> list[str]:
    return scenarios.prepared(running)


def assert_promises_kept(row: Row) -> None:
    """Assert that no promise was broken."""
    assert row.broken.total == 0, (row.broken, row.failures[:5])
    assert row.notes == []
    assert row.orders > 0


def test_both_replicas_of_each_process_get_their_share_of_calls(running: Fleet, paths: list[str]) -> None:
    rows: list[Row] = []
    with scenario(running, "balance", paths, RATE, rows):
        found = scenarios.shares(running, SPAN_SECONDS)

    assert scenarios.unbalanced(found) == {}
    assert_promises_kept(rows[0])


def test_a_client_that_repeats_once_does_not_notice_that_a_replica_of_any_kind_dies(
    running: Fleet, paths: list[str]
) -> None:
    rows: list[Row] = []
    with scenario(running, "kill -9", paths, RATE, rows) as run:
        scenarios.kill_each(run, DEAD_SECONDS, [running.of(kind)[0] for kind in KINDS])

    assert_promises_kept(rows[0])


def test_a_restart_of_a_replica_of_each_kind_fails_no_request(running: Fleet, paths: list[str]) -> None:
    rows: list[Row] = []
    with scenario(running, "rolling restart", paths, RATE, rows, repeat=False) as run:
        scenarios.restart_all(run, 1, [running.of(kind)[1] for kind in KINDS])

    assert_promises_kept(rows[0])


def test_a_host_whose_line_is_cut_is_not_noticed(running: Fleet, paths: list[str]) -> None:
    rows: list[Row] = []
    victims = [running.members["share-1"], running.members["gateway-2"]]
    with scenario(running, "cut", paths, RATE, rows) as run:
        scenarios.cut_each(run, DEAD_SECONDS, lambda member: member.host.cut(), victims)

    assert_promises_kept(rows[0])
