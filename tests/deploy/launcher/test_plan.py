"""What the launcher is told to run: settings of all processes, migrations that wait, and the password of Valkey."""

import asyncio
import os
import pickle
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError

from deploy.launcher import plan
from deploy.launcher.model import ConfigurationError, Plan
from deploy.launcher.plan import PASSWORD_FILE, pending_migrations, settle, valkey_password
from deploy.launcher.preflight import prepare
from deploy.launcher.settings import LauncherSettings
from services.chassis.draining import LOOPBACK_DRAIN_SECONDS, LOOPBACK_GRACE_SECONDS
from services.chassis.migrations import head_of
from services.generation.providers.kie import SUBMIT

RESTART_SECONDS = 30  # a database's, while a submit waits to record its answer


def made() -> Plan:
    return plan.make(settle())


def names(of: Plan) -> list[str]:
    return [process.name for process in of.processes]


def environments(of: Plan) -> dict[str, dict[str, str]]:
    """What each process will see."""
    return {process.name: of.environment | process.environment for process in of.processes}


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
    scheme = "redis" if name == "REDIS_URL" else "postgresql"
    secret = f"{scheme}://kawaii:canary-of-{name.lower()}-0123456789@db/kawaii"
    monkeypatch.setenv(name, secret)
    stack = made()
    holders = {process for process, seen in environments(stack).items() if secret in seen.values()}

    assert holders == SECRETS[name] & set(names(stack))
    assert "canary" not in str(stack.environment) + str(stack.files)


@pytest.mark.parametrize("name", ["EXPORT_TOKEN", "DATABASE_URL"])
def test_the_file_of_a_secret_is_named_to_those_that_need_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text("postgresql://kawaii:canary-0123456789@db/kawaii", encoding="utf-8")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    holders = {process for process, seen in environments(made()).items() if f"{name}_FILE" in seen}

    assert holders == SECRETS[name]


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

    assert bounds["generation"] >= LOOPBACK_GRACE_SECONDS + LOOPBACK_DRAIN_SECONDS + SUBMIT.total + RESTART_SECONDS
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


def test_a_plan_survives_the_way_to_the_launcher() -> None:
    stack = made()

    assert pickle.loads(pickle.dumps(stack)) == stack  # noqa: S301 - written here


def test_the_programs_are_there() -> None:
    programs = {process.command[0] for process in made().processes}

    assert sys.executable in programs
    assert all(os.access(program, os.X_OK) for program in programs)


SHARED = ("deploy.launcher.settings:LauncherSettings", "services.chassis.settings:CommonSettings")
SECRET = "not-a-number-but-maybe-a-secret"


def test_a_good_configuration_has_no_problems() -> None:
    assert settle().port == 8080


def test_the_certificate_of_one_process_is_not_given_to_a_whole_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CERT", "KEY", "CA"):
        monkeypatch.setenv(f"INTERNAL_TLS_{name}", "share.crt")
    settings = LauncherSettings()

    with pytest.raises(ConfigurationError, match="INTERNAL_TLS_CERT is the certificate of one process"):
        plan.make(settings)


def test_every_problem_of_every_process_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "TRUSTED_HOPS", "SHARE_LIST_POLICY", "CORS_ALLOWED_ORIGINS"):
        monkeypatch.setenv(name, SECRET)

    with pytest.raises(ConfigurationError) as refusal:
        settle()

    lines = str(refusal.value).splitlines()
    assert lines[0] == "These settings are missing or wrong:"
    named = sorted(line.split(":")[0].strip() for line in lines[1:])
    assert named == ["CORS_ALLOWED_ORIGINS", "PORT", "SHARE_LIST_POLICY", "TRUSTED_HOPS"]
    assert SECRET not in str(refusal.value)


def test_an_unreadable_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KIE_API_KEY_FILE", str(tmp_path / "absent"))

    with pytest.raises(ConfigurationError) as refusal:
        settle(SHARED)

    assert str(refusal.value) == f"A secret file cannot be read: {tmp_path / 'absent'}: No such file or directory"


def at_revision(database: Path, *window: str) -> None:
    """Make a database that says its revision, and its window if there is one."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", window[:1])
        if window[1:]:
            connection.execute("CREATE TABLE schema_window (id SMALLINT, revision TEXT, oldest_compatible TEXT)")
            connection.execute("INSERT INTO schema_window VALUES (1, ?, ?)", window)


HEAD = head_of("share")
LATER = f"{int(HEAD) + 1:04}"


def test_looking_for_a_database_that_is_not_there_makes_none(tmp_path: Path) -> None:
    assert pending_migrations(["share"], tmp_path) == ["share"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_left_to_the_migration(tmp_path: Path) -> None:
    (tmp_path / "share.sqlite3").write_bytes(b"not a database at all")

    assert pending_migrations(["share"], tmp_path) == ["share"]


@pytest.mark.parametrize("window", [("0001",), ("0001", "0001"), (HEAD,)], ids=["older", "windowed", "no window"])
def test_a_database_behind_its_code_is_migrated_first(tmp_path: Path, window: tuple[str, ...]) -> None:
    at_revision(tmp_path / "share.sqlite3", *window)

    assert pending_migrations(["share"], tmp_path) == ["share"]


@pytest.mark.parametrize("window", [(HEAD, HEAD), (LATER, HEAD), (LATER, LATER)], ids=["head", "ahead", "too new"])
def test_a_database_that_is_not_behind_its_code_is_never_migrated(tmp_path: Path, window: tuple[str, ...]) -> None:
    at_revision(tmp_path / "share.sqlite3", *window)

    assert pending_migrations(["share"], tmp_path) == []


def test_the_password_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = valkey_password(tmp_path / "data")

    assert len(first) >= 40
    assert valkey_password(tmp_path / "data") == first
    assert valkey_password(tmp_path / "other") != first
    assert stat.S_IMODE((tmp_path / "data" / PASSWORD_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [PASSWORD_FILE]


async def test_those_who_make_it_at_the_same_time_get_the_same_one(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from deploy.launcher.plan import valkey_password;"
        " print(valkey_password(pathlib.Path(sys.argv[1])))"
    )
    command = (sys.executable, "-c", program, str(tmp_path / "data"))
    made = await asyncio.gather(
        *(asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(4))
    )

    assert len({(await process.communicate())[0] for process in made}) == 1


async def test_valkey_asks_for_the_password_and_its_arguments_do_not_show_it(
    monkeypatch: pytest.MonkeyPatch, base: int, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERNAL_PORT_BASE", str(base))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    made = plan.make(settle())
    prepare(made)
    valkey = next(process for process in made.processes if process.name == "valkey")
    gateway = next(process for process in made.processes if process.name == "gateway")
    running = await asyncio.create_subprocess_exec(*valkey.command, cwd=valkey.folder, env=made.environment)
    try:
        retry = Retry(ConstantBackoff(0.05), 400)  # for as long as it starts, on a busy machine
        async with Redis.from_url(gateway.environment["REDIS_URL"], retry=retry) as known:
            assert await known.ping()
        async with Redis(port=base + 7) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
    finally:
        running.kill()
        await running.wait()
    secret = valkey_password(tmp_path / "data")

    assert secret in gateway.environment["REDIS_URL"]
    assert secret not in str([process.command for process in made.processes])
    assert secret not in str(made.environment)
    assert secret not in (Path(valkey.folder) / "valkey.log").read_text(encoding="utf-8")
    assert stat.S_IMODE((Path(valkey.folder) / "secret.conf").stat().st_mode) == 0o600
