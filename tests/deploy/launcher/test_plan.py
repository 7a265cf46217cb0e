"""The plan holds what the settings ask for, and nothing else."""

import os
import sys
from pathlib import Path

import pytest

from deploy.launcher import plan
from deploy.launcher.configuration import settle
from deploy.launcher.model import Plan, from_json, to_json
from services.chassis.server import DRAIN_SECONDS, GRACE_SECONDS
from services.generation.providers.kie import SUBMIT

RESTART_SECONDS = 30  # a database's, while a submit waits to record its answer


def made() -> Plan:
    return plan.make(settle())


def names(of: Plan) -> list[str]:
    return [process.name for process in of.processes]


def environments(of: Plan) -> dict[str, dict[str, str]]:
    """What each process will see."""
    return {process.name: of.environment | process.secrets for process in of.processes}


SECRETS = {
    "KIE_AI_API_KEY": {"generation"},
    "KIE_API_KEY": {"generation"},
    "KIE_AI_API_KEY_5": {"generation"},
    "KIE_WEBHOOK_HMAC_KEY": {"generation", "sandbox"},
    "KIE_WEBHOOK_HMAC_KEY_PREVIOUS": {"generation"},
    "STORAGE_S3_SECRET_ACCESS_KEY": {"storage"},
    "CLOUDFLARE_R2_ACCESS_KEY_ID": {"storage"},
    "AUTH_HS256_SECRET": {"gateway"},
    "EXPORT_TOKEN": {"gateway"},
    "DATABASE_URL": {"storage", "share", "generation", "community"},
    "REDIS_URL": {"share", "community", "gateway"},
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_told_to_those_that_need_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    secret = f"postgresql://kawaii:canary-of-{name.lower()}-0123456789@db/kawaii"
    monkeypatch.setenv(name, secret)
    stack = made()
    told = {process for process, seen in environments(stack).items() if secret in seen.values()}

    assert told == SECRETS[name] & set(names(stack))
    assert "canary" not in str(stack.environment) + str(stack.files)


@pytest.mark.parametrize("name", ["EXPORT_TOKEN", "DATABASE_URL"])
def test_the_file_of_a_secret_is_named_to_those_that_need_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text("postgresql://kawaii:canary-0123456789@db/kawaii", encoding="utf-8")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    told = {process for process, seen in environments(made()).items() if f"{name}_FILE" in seen}

    assert told == SECRETS[name]


def test_a_stack_without_settings_has_everything_it_needs() -> None:
    assert names(made()) == ["envoy", "valkey", "sandbox", "storage", "share", "generation", "community", "gateway"]


def test_a_key_sends_the_sandbox_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_AI_API_KEY", "a-real-key")

    stack = made()

    assert "sandbox" not in names(stack)
    assert stack.upstream == "https://api.kie.ai"
    assert environments(stack)["generation"]["KIE_AI_API_KEY"] == "a-real-key"


@pytest.mark.parametrize("url", ["none", "redis://elsewhere:6379/0"])
def test_valkey_runs_only_when_no_redis_is_named(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    assert "valkey" not in names(made())


def test_services_wait_for_the_migration_of_their_own_databases() -> None:
    assert [process.name for process in made().processes if process.migrated] == [
        "storage",
        "share",
        "generation",
        "community",
    ]


def test_a_shared_database_is_not_migrated_by_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/kawaii")

    stack = made()

    assert stack.migration == ()
    assert not any(process.migrated for process in stack.processes)


def test_a_submit_in_flight_has_time_to_record_its_answer() -> None:
    bounds = {process.name: process.stop_seconds for process in made().processes}

    assert bounds["generation"] >= GRACE_SECONDS + DRAIN_SECONDS + SUBMIT.total + RESTART_SECONDS
    assert bounds["gateway"] == 10


def test_every_process_is_watched_where_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERNAL_PORT_BASE", "20000")
    probes = {process.name: process.probe for process in made().processes}
    watched = {name: probe.port or probe.socket for name, probe in probes.items() if probe}

    assert watched.keys() == probes.keys()
    ours = {"gateway": 20010, "generation": 20011, "storage": 20012, "share": 20013, "community": 20014}
    assert watched == ours | {"sandbox": 20006, "valkey": 20007, "envoy": "admin.sock"}


def test_every_port_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERNAL_PORT_BASE", "20000")
    ports = made().ports

    assert (ports[0].host, ports[0].port, ports[0].variable) == ("127.0.0.1", 8080, "PORT")
    assert {port.host for port in ports[1:]} == {"127.0.0.1"}
    processes, metrics = (
        [20000, 20001, 20002, 20003, 20004, 20005, 20006, 20007],
        [20010, 20011, 20012, 20013, 20014],
    )
    assert sorted(port.port for port in ports[1:]) == [*processes, *metrics]


def test_byte_code_is_kept_whatever_the_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = made().environment

    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["MALLOC_ARENA_MAX"] == "2"


def test_an_override_is_not_undone_by_a_secret_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text("127.0.0.1:9000", encoding="utf-8")
    monkeypatch.setenv("OUTBOUND_ALLOW_PRIVATE_FILE", str(tmp_path / "allowed"))
    environment = made().environment

    assert environment["OUTBOUND_ALLOW_PRIVATE"] == "127.0.0.1:9000,127.0.0.1:50056"
    assert "OUTBOUND_ALLOW_PRIVATE_FILE" not in environment


def test_a_plan_survives_its_journey() -> None:
    stack = made()

    assert from_json(to_json(stack)) == stack


def test_the_programs_are_there() -> None:
    programs = {process.command[0] for process in made().processes}

    assert sys.executable in programs
    assert all(os.access(program, os.X_OK) for program in programs)
