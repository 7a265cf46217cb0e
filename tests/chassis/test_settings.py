"""Settings are read once, from files, the environment and .env, and all that is wrong is said at once."""

from pathlib import Path

import pytest
from pydantic import AliasChoices, Field, SecretStr

from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings, load

CANARY = "sk-canary-0123456789"
KNOBS = ("PORT", "APP_URL", "NEXT_PUBLIC_APP_URL", "DATA_DIR", "DATABASE_URL", "REDIS_URL", "LOG_LEVEL", "LOG_FORMAT")


class Probe(CommonSettings):
    """Settings of a process that does not exist."""

    upstream_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices("UPSTREAM_KEY", "OLD_KEY"))
    patience: int = Field(5, gt=0)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No .env and none of our names."""
    monkeypatch.chdir(tmp_path)
    for name in (*KNOBS, "UPSTREAM_KEY", "OLD_KEY", "PATIENCE", "STORAGE_PUBLIC_BASE_URL", "INTERNAL_PORT_BASE"):
        monkeypatch.delenv(name, raising=False)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        load(Probe)
    assert caught.value.code == EXIT_CONFIGURATION
    return capsys.readouterr().err


def test_defaults_need_no_environment() -> None:
    settings = load(Probe)

    assert settings.port == 8080
    assert settings.origin == "http://localhost:8080"
    assert settings.files_base_url == "http://localhost:8080/files"
    assert settings.effective_redis_url == "redis://127.0.0.1:50057/0"


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "not-a-port")
    monkeypatch.setenv("PATIENCE", "0")
    monkeypatch.setenv("LOG_LEVEL", "loud")

    errors = refusal(capsys)

    assert all(name in errors for name in ("PORT", "PATIENCE", "LOG_LEVEL"))


def test_a_wrong_value_is_never_quoted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("PORT", "PATIENCE", "LOG_LEVEL", "INTERNAL_PORT_BASE"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("UPSTREAM_KEY", CANARY)

    assert CANARY not in refusal(capsys)


def test_a_secret_is_not_shown_by_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", CANARY)

    settings = load(Probe)

    assert settings.upstream_key.get_secret_value() == CANARY
    assert CANARY not in repr(settings)


@pytest.mark.parametrize("name", ["UPSTREAM_KEY", "OLD_KEY"])
def test_a_setting_answers_to_its_old_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, CANARY)

    assert load(Probe).upstream_key.get_secret_value() == CANARY


@pytest.mark.parametrize("name", ["UPSTREAM_KEY_FILE", "OLD_KEY_FILE"])
def test_a_secret_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "key").write_text(f"{CANARY}\n", encoding="utf-8")
    monkeypatch.setenv(name, str(tmp_path / "key"))

    assert load(Probe).upstream_key.get_secret_value() == CANARY


def test_a_plain_setting_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "patience").write_text("9", encoding="utf-8")
    monkeypatch.setenv("PATIENCE_FILE", str(tmp_path / "patience"))
    monkeypatch.setenv("PATIENCE", "7")

    assert load(Probe).patience == 9


def test_a_missing_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("UPSTREAM_KEY_FILE", "nowhere/key")

    assert "nowhere/key" in refusal(capsys)


def test_a_secret_file_that_is_no_text_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("UPSTREAM_KEY_FILE", str(tmp_path / "key"))

    assert "UTF-8" in refusal(capsys)


def test_dot_env_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1111\nPATIENCE=2\nUNRELATED=1\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "2222")

    settings = load(Probe)

    assert (settings.port, settings.patience) == (2222, 2)


def test_an_empty_value_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")

    assert load(Probe).port == 8080


@pytest.mark.parametrize("name", ["APP_URL", "NEXT_PUBLIC_APP_URL"])
def test_the_origin_has_no_trailing_slash(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "https://kawaii.example/")

    settings = load(Probe)

    assert settings.origin == "https://kawaii.example"
    assert settings.files_base_url == "https://kawaii.example/files"


def test_redis_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "none")

    assert load(Probe).effective_redis_url == ""


@pytest.mark.parametrize(("name", "plain"), [("UPSTREAM_KEY_FILE", "UPSTREAM_KEY=plain"), ("OLD_KEY_FILE", "")])
def test_a_secret_file_may_be_named_in_dot_env(tmp_path: Path, name: str, plain: str) -> None:
    (tmp_path / "key").write_text(CANARY, encoding="utf-8")
    (tmp_path / ".env").write_text(f"{name}={tmp_path / 'key'}\n{plain}\n", encoding="utf-8")

    assert load(Probe).upstream_key.get_secret_value() == CANARY


def test_the_environment_wins_over_a_file_that_dot_env_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "patience").write_text("9", encoding="utf-8")
    (tmp_path / ".env").write_text(f"PATIENCE_FILE={tmp_path / 'patience'}\n", encoding="utf-8")
    monkeypatch.setenv("PATIENCE", "7")

    assert load(Probe).patience == 7
