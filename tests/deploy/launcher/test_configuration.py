"""All problems of all processes are told at once, and no value with them."""

from pathlib import Path

import pytest

from deploy.launcher.configuration import settle
from deploy.launcher.errors import ConfigurationError

SHARED = ("deploy.launcher.settings:LauncherSettings", "services.chassis.settings:CommonSettings")
SECRET = "not-a-number-but-maybe-a-secret"


def test_a_good_configuration_has_no_problems() -> None:
    assert settle().port == 8080


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
