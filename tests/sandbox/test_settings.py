"""Settings of the sandbox process."""

import pytest

from services.chassis.settings import load
from services.sandbox.settings import SandboxSettings


def test_every_wrong_setting_is_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SANDBOX_CREATE_LIMIT", "0")
    monkeypatch.setenv("SANDBOX_CALLBACK_RETRY_SECONDS", "1,soon")
    with pytest.raises(SystemExit):
        load(SandboxSettings)

    errors = capsys.readouterr().err
    assert "SANDBOX_CREATE_LIMIT" in errors
    assert "SANDBOX_CALLBACK_RETRY_SECONDS" in errors
