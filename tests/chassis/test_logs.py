"""No secret and no prompt reaches a log, whatever it is called with."""

import json

import pytest
import structlog

from services.chassis.logs import MAX_VALUE_LENGTH, configure, redact

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize(
    "name", ["key", "api_key", "Authorization", "cookie", "callback_token", "password", "prompt", "x_signature"]
)
def test_a_value_with_a_secret_name_is_blanked(name: str) -> None:
    assert redact(None, "info", {"event": "e", name: CANARY}) == {"event": "e", name: "***"}


def test_a_long_value_is_cut() -> None:
    line = redact(None, "info", {"event": "e", "page": "x" * 10_000})

    assert len(line["page"]) == MAX_VALUE_LENGTH + 1


def test_a_line_is_json_with_the_service_and_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    configure("info", "json", "probe")
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        structlog.get_logger().info("shared", count=2, secret=CANARY)
        structlog.get_logger().debug("quiet")
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()

    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["event"], record["service"], record["request_id"], record["count"]) == (
        "shared",
        "probe",
        "req-1",
        2,
    )
    assert CANARY not in line
