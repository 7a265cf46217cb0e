"""What the launcher reads, and that .env.example tells all of it."""

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from pkgutil import resolve_name

import pytest

from deploy.launcher.configuration import adopt
from deploy.launcher.plan import _facts
from deploy.launcher.processes import SETTINGS
from deploy.launcher.settings import KIE_KEY_NAMES, LauncherSettings
from gateway.settings import GatewaySettings
from services.chassis.settings import CommonSettings, names_of

EXAMPLE = Path(__file__).parents[3] / ".env.example"
TOLD = re.compile(r"^#([A-Z0-9_]+)=", re.MULTILINE)
ELSEWHERE = {"app_url"}  # follows PORT when it is not set; the example shows what that is


@pytest.mark.parametrize("path", SETTINGS)
def test_the_example_names_every_setting(path: str) -> None:
    kind: type[CommonSettings] = resolve_name(path)
    named = set(TOLD.findall(EXAMPLE.read_text(encoding="utf-8")))

    assert [name for name, field in kind.model_fields.items() if not named & set(names_of(name, field))] == []


def test_the_example_names_nothing_that_no_process_reads() -> None:
    fields = [pair for path in SETTINGS for pair in resolve_name(path).model_fields.items()]
    read = {spelling for name, field in fields for spelling in names_of(name, field)}

    assert set(TOLD.findall(EXAMPLE.read_text(encoding="utf-8"))) - read == set()


@pytest.mark.parametrize("path", SETTINGS)
def test_the_example_tells_the_defaults(path: str, tmp_path: Path) -> None:
    kind: type[CommonSettings] = resolve_name(path)
    (tmp_path / ".env").write_text(TOLD.sub(r"\1=", EXAMPLE.read_text(encoding="utf-8")), encoding="utf-8")

    assert kind().model_dump(exclude=ELSEWHERE) == kind(_env_file=None).model_dump(exclude=ELSEWHERE)


def test_the_example_changes_nothing_when_copied(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")

    assert LauncherSettings().model_fields_set == set()


@pytest.mark.parametrize("name", KIE_KEY_NAMES)
def test_any_key_of_the_pool_means_the_real_provider(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert LauncherSettings().sandboxed

    monkeypatch.setenv(name, "a-real-key")

    assert not LauncherSettings().sandboxed
    assert "KIE_AI_BASE_URL" not in LauncherSettings().overrides()


def test_a_key_in_env_file_or_secret_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("a-real-key\n", encoding="utf-8")
    monkeypatch.setenv("KIE_API_KEY_FILE", str(tmp_path / "secret"))
    assert not LauncherSettings().sandboxed

    monkeypatch.delenv("KIE_API_KEY_FILE")
    (tmp_path / ".env").write_text("KIE_AI_API_KEY_2=a-real-key\n", encoding="utf-8")
    assert not LauncherSettings().sandboxed


def test_without_a_key_every_process_talks_to_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_ALLOW_PRIVATE", "127.0.0.1:9000")
    monkeypatch.setenv("INTERNAL_PORT_BASE", "20000")

    overrides = LauncherSettings().overrides()

    assert overrides["KIE_AI_BASE_URL"] == "http://127.0.0.1:20006"
    assert overrides["OUTBOUND_ALLOW_PRIVATE"] == "127.0.0.1:9000,127.0.0.1:20006"
    assert overrides["KIE_AI_API_KEY"]


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.2", "::1"])
def test_a_stack_of_ones_own_machine_has_one_developer(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BIND_ADDRESS", address)
    settings = LauncherSettings()

    assert settings.overrides()["AUTH_DEV_MODE"] == "1"
    assert str(settings.public_address) == (address or "127.0.0.1")
    assert "developer" in settings.identity


@pytest.mark.parametrize(
    ("name", "value", "address", "reason"),
    [
        ("KIE_AI_API_KEY_3", "a-real-key", "0.0.0.0", "the real provider"),
        ("BIND_ADDRESS", "0.0.0.0", "0.0.0.0", "BIND_ADDRESS=0.0.0.0"),
        ("BIND_ADDRESS", "192.0.2.7", "192.0.2.7", "BIND_ADDRESS=192.0.2.7"),
        ("BIND_ADDRESS", "::", "::", "BIND_ADDRESS=::"),
        ("AUTH_DEV_MODE", "0", "0.0.0.0", "AUTH_DEV_MODE turns it off"),
        ("AUTH_DEV_MODE", "false", "0.0.0.0", "AUTH_DEV_MODE turns it off"),
        ("AUTH_JWKS_URL", "https://id.example/keys", "0.0.0.0", ""),
        ("AUTH_HS256_SECRET", "a secret", "0.0.0.0", ""),
    ],
)
@pytest.mark.parametrize("insisted", [True, False])
def test_everybody_else_is_nobody_until_sign_in_is_configured(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, address: str, reason: str, *, insisted: bool
) -> None:
    monkeypatch.setenv("AUTH_DEV_MODE", "1" if insisted else "")
    monkeypatch.setenv(name, value)
    settings = LauncherSettings()

    assert settings.overrides()["AUTH_DEV_MODE"] == "0"
    assert str(settings.public_address) == address
    assert reason in settings.identity
    assert address in settings.listening


def test_the_start_says_why_the_port_listens_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "this machine only, because development identity is on" in LauncherSettings().listening

    monkeypatch.setenv("KIE_AI_API_KEY", "a-real-key")
    assert "every address, because pictures are made by the real provider" in LauncherSettings().listening

    monkeypatch.setenv("BIND_ADDRESS", "127.0.0.1")
    assert LauncherSettings().listening == "127.0.0.1, as BIND_ADDRESS says"
    assert "nobody can sign in" in LauncherSettings().identity


def test_no_env_file_brings_development_identity_back(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AUTH_DEV_MODE=1\nKIE_AI_API_KEY=a-real-key\n", encoding="utf-8")
    adopt(LauncherSettings())

    assert not GatewaySettings().auth_dev_mode


@pytest.mark.parametrize(
    ("bind", "probe"),
    [
        (IPv4Address("0.0.0.0"), "127.0.0.1"),
        (IPv6Address("::"), "::1"),
        (IPv4Address("192.0.2.7"), "192.0.2.7"),
        (None, "127.0.0.1"),
    ],
)
def test_the_stack_is_asked_where_it_listens(bind: IPv4Address | IPv6Address | None, probe: str) -> None:
    assert LauncherSettings(bind_address=bind).probe_host == probe


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"KIE_AI_API_KEY": "live"}, "at most 500 orders a day"),
        ({"KIE_AI_API_KEY_3": "live", "SITE_DAILY_ORDERS": "40"}, "at most 40 orders a day"),
        ({"KIE_AI_API_KEY": "live", "SITE_DAILY_ORDERS": "0"}, "nothing bounds how many"),
    ],
)
def test_the_start_says_that_strangers_order_at_the_operators_expense(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    sentence = _facts(LauncherSettings())["orders"]
    assert "at your expense" in sentence
    assert expected in sentence
    assert "GENERATION_DAILY_QUOTA" in sentence
    assert LauncherSettings().overrides()["SIGN_IN_CONFIGURED"] == "0"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"KIE_AI_API_KEY": "sandbox-a"},
        {"KIE_AI_API_KEY": "live", "GENERATION_DAILY_QUOTA": "5"},
        {"KIE_AI_API_KEY": "live", "AUTH_HS256_SECRET": "s" * 32},
    ],
)
def test_a_site_that_is_bounded_otherwise_starts_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert "orders" not in _facts(LauncherSettings())
    assert LauncherSettings().overrides()["SIGN_IN_CONFIGURED"] == ("1" if "AUTH_HS256_SECRET" in variables else "0")
