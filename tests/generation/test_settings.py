"""Keys and accounts are read as an operator gives them, and no value is ever shown."""

from pathlib import Path

import pytest
import structlog

from catalogue import MODELS
from services.chassis.settings import EXIT_CONFIGURATION, load
from services.generation.key_pool.pool import PoolStatus
from services.generation.settings import GenerationSettings, warn

CANARY = "sk-canary-"
NAMES = ("KIE_AI_API_KEY", "KIE_API_KEY", *(f"KIE_AI_API_KEY_{number}" for number in range(2, 6)))
OTHERS = (
    "KIE_ACCOUNTS",
    "KIE_WEBHOOK_HMAC_KEY",
    "KIE_WEBHOOK_HMAC_KEY_PREVIOUS",
    "GENERATION_CREATE_WAIT_SECONDS",
    "GENERATION_TIMEOUT_SECONDS",
    "KIE_AI_BASE_URL",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No .env and none of our names."""
    monkeypatch.chdir(tmp_path)
    for name in (*NAMES, *OTHERS):
        monkeypatch.delenv(name, raising=False)


def test_without_keys_the_pool_is_empty() -> None:
    assert load(GenerationSettings).keys == ()


@pytest.mark.parametrize("first", ["KIE_AI_API_KEY", "KIE_API_KEY"])
def test_each_key_is_an_account_of_its_own(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    monkeypatch.setenv(first, f"{CANARY}1")
    monkeypatch.setenv("KIE_AI_API_KEY_3", f"{CANARY}3")

    keys = load(GenerationSettings).keys

    assert [(key.account, key.value) for key in keys] == [
        (f"key-{keys[0].print}", f"{CANARY}1"),
        (f"key-{keys[1].print}", f"{CANARY}3"),
    ]
    assert len({key.print for key in keys}) == 2


def test_a_key_keeps_its_account_when_one_before_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else tasks in flight are read with another account's key, which does not see them."""
    for number in (2, 3):
        monkeypatch.setenv(f"KIE_AI_API_KEY_{number}", f"{CANARY}{number}")
    both = load(GenerationSettings).keys
    monkeypatch.delenv("KIE_AI_API_KEY_2")

    assert load(GenerationSettings).keys == both[1:]


def test_a_key_that_is_given_twice_is_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES[2:4]:
        monkeypatch.setenv(name, f"{CANARY}same")

    assert len(load(GenerationSettings).keys) == 1


def test_keys_can_share_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES[2:5]:
        monkeypatch.setenv(name, f"{CANARY}{name}")
    monkeypatch.setenv("KIE_ACCOUNTS", "main, main,spare")

    assert [key.account for key in load(GenerationSettings).keys] == ["main", "main", "spare"]


@pytest.mark.parametrize("accounts", ["one,two", "one,two,three,four", "one,,three"])
def test_accounts_must_fit_the_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], accounts: str
) -> None:
    for name in NAMES[2:5]:
        monkeypatch.setenv(name, f"{CANARY}{name}")
    monkeypatch.setenv("KIE_ACCOUNTS", accounts)

    with pytest.raises(SystemExit) as caught:
        load(GenerationSettings)

    errors = capsys.readouterr().err
    assert caught.value.code == EXIT_CONFIGURATION
    assert "KIE_ACCOUNTS" in errors
    assert CANARY not in errors


def test_no_key_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES[1:], "KIE_WEBHOOK_HMAC_KEY"):
        monkeypatch.setenv(name, f"{CANARY}{name}")

    settings = load(GenerationSettings)

    assert CANARY not in repr(settings) + repr(settings.keys)


def test_two_callback_keys_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_WEBHOOK_HMAC_KEY", "new")
    monkeypatch.setenv("KIE_WEBHOOK_HMAC_KEY_PREVIOUS", "old")

    assert load(GenerationSettings).callback_keys == ("new", "old")


def test_a_create_waits_less_than_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATION_CREATE_WAIT_SECONDS", "15")

    with pytest.raises(SystemExit):
        load(GenerationSettings)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = load(GenerationSettings)

    assert (settings.timing.create_wait, settings.timing.copy_patience) == (8.0, 10.0)
    assert {model.patience_seconds for model in settings.models.values()} == {900.0}


def test_a_timeout_that_is_set_is_the_patience_of_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATION_TIMEOUT_SECONDS", "300")
    models = load(GenerationSettings).models

    assert list(models) == list(MODELS)
    assert {model.patience_seconds for model in models.values()} == {300.0}
    assert models["z-image"].display_name == MODELS["z-image"].display_name


@pytest.mark.parametrize(
    "url",
    [
        "https://api.kie.ai:99999",
        "https://api.kie.ai:0",
        "api.kie.ai",
        "ftp://api.kie.ai",
        "https://",
        "https://api.kie.ai/?a=b",
        "https://somebody:secret@api.kie.ai",
        "https://api.kie.ai/ x",
    ],
)
def test_an_upstream_that_nobody_could_call_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("KIE_AI_BASE_URL", url)
    monkeypatch.setenv("GENERATION_LEASE_SECONDS", "0")

    with pytest.raises(SystemExit) as caught:
        load(GenerationSettings)

    errors = capsys.readouterr().err
    assert caught.value.code == EXIT_CONFIGURATION
    assert all(name in errors for name in ("KIE_AI_BASE_URL", "GENERATION_LEASE_SECONDS"))
    assert "secret" not in errors


@pytest.mark.parametrize("url", ["https://api.kie.ai", "http://127.0.0.1:50056", "https://proxy.example:8443/kie/"])
def test_an_upstream_may_lie_anywhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KIE_AI_BASE_URL", url)

    assert load(GenerationSettings).kie_ai_base_url == url


@pytest.mark.parametrize("key", [f"{CANARY}ключ", f"{CANARY}\u200b", f"{CANARY} x", f"{CANARY}\nx"])
def test_a_key_that_no_header_carries_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    for name in NAMES[1:3]:
        monkeypatch.setenv(name, key)

    with pytest.raises(SystemExit) as caught:
        load(GenerationSettings)

    errors = capsys.readouterr().err
    assert caught.value.code == EXIT_CONFIGURATION
    assert "KIE_AI_API_KEY_2" in errors
    assert CANARY not in errors


OPEN = {"KIE_AI_API_KEY": "live"}


@pytest.mark.parametrize(
    ("variables", "orders"),
    [
        (OPEN, 500),
        (OPEN | {"SITE_DAILY_ORDERS": "7"}, 7),
        (OPEN | {"SITE_DAILY_ORDERS": "0"}, 0),
        (OPEN | {"GENERATION_DAILY_QUOTA": "5"}, 0),
        (OPEN | {"SIGN_IN_CONFIGURED": "1"}, 0),
        ({"KIE_AI_API_KEY": "sandbox-key"}, 0),
        ({"KIE_AI_API_KEY": "sandbox-key", "KIE_AI_API_KEY_2": "live"}, 500),
        ({"KIE_AI_API_KEY": "sandbox-key", "SITE_DAILY_ORDERS": "9"}, 9),
    ],
)
def test_the_whole_site_is_bounded_where_nothing_else_bounds_strangers(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], orders: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert GenerationSettings().effective_site_orders == orders


def test_the_start_warns_of_a_site_where_strangers_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_AI_API_KEY", "live")
    with structlog.testing.capture_logs() as logs:
        warn(GenerationSettings(), PoolStatus((), ()))

    warning = next(line for line in logs if line["event"] == "orders_open_to_all")
    assert warning["site_daily_orders"] == 500
    assert "at most 500 orders a day" in warning["meaning"]
