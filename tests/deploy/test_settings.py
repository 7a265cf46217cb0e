"""What the launcher reads, and that .env.example tells all of it."""

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from pkgutil import resolve_name

import pytest

from deploy.configuration import SETTINGS
from deploy.settings import KIE_KEY_NAMES, LauncherSettings
from services.chassis.settings import TownSettings, names_of

EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.mark.parametrize("path", SETTINGS)
def test_the_example_names_every_setting(path: str) -> None:
    kind: type[TownSettings] = resolve_name(path)
    told = set(re.findall(r"^#([A-Z0-9_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))

    assert [name for name, field in kind.model_fields.items() if not told & set(names_of(name, field))] == []


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


@pytest.mark.parametrize(
    "name", ["AUTH_JWKS_URL", "AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_HS256_SECRET", "AUTH_DEV_MODE"]
)
def test_dev_mode_is_only_for_towns_without_identity(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert LauncherSettings().overrides()["AUTH_DEV_MODE"] == "1"

    monkeypatch.setenv(name, "0")

    assert "AUTH_DEV_MODE" not in LauncherSettings().overrides()


@pytest.mark.parametrize(
    ("bind", "probe"),
    [
        (IPv4Address("0.0.0.0"), "127.0.0.1"),
        (IPv6Address("::"), "::1"),
        (IPv4Address("192.0.2.7"), "192.0.2.7"),
    ],
)
def test_the_town_is_asked_where_it_listens(bind: IPv4Address | IPv6Address, probe: str) -> None:
    assert LauncherSettings(bind_address=bind).probe_host == probe
