"""The gateway's own settings."""

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings


def test_origins_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://a.test, http://localhost:3000")

    assert GatewaySettings().cors_allowed_origins == ("https://a.test", "http://localhost:3000")


@pytest.mark.parametrize(
    "value", ["*,https://a.test", "a.test", "https://a.test/path", "https://user@a.test", "https://A.test", "null"]
)
def test_what_is_no_origin_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="give `\\*` alone, or origins"):
        GatewaySettings(cors_allowed_origins=value)
