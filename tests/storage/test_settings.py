"""The settings of the storage service."""

from pathlib import Path

import pytest

from services.chassis.settings import load
from services.storage.settings import StorageSettings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_private_addresses_are_given_as_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_ALLOW_PRIVATE", "127.0.0.1:50056, Sandbox.Example:80,")

    assert load(StorageSettings).outbound_allow_private == {"127.0.0.1:50056", "sandbox.example:80"}


def test_a_private_address_without_a_port_is_named_as_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUTBOUND_ALLOW_PRIVATE", "127.0.0.1")

    with pytest.raises(SystemExit):
        load(StorageSettings)
    assert "OUTBOUND_ALLOW_PRIVATE" in capsys.readouterr().err


def test_objects_lie_under_the_data_folder_unless_set_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "stack")
    assert load(StorageSettings).objects_dir == Path("stack/objects")

    monkeypatch.setenv("STORAGE_DIR", "elsewhere")
    assert load(StorageSettings).objects_dir == Path("elsewhere")


@pytest.mark.parametrize("mode", ["STORAGE_MODE", "STORAGE_SECOND_MODE"])
def test_what_a_bucket_needs_is_named_all_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    monkeypatch.setenv(mode, "s3")
    monkeypatch.setenv("FETCH_CONNECTIONS", "none")

    with pytest.raises(SystemExit) as refusal:
        load(StorageSettings)
    errors = capsys.readouterr().err
    assert refusal.value.code == 78
    for name in ("BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        assert f"STORAGE_S3_{name}" in errors
    assert "FETCH_CONNECTIONS" in errors


def test_a_second_backend_must_be_another(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STORAGE_SECOND_MODE", "local")

    with pytest.raises(SystemExit):
        load(StorageSettings)
    assert "STORAGE_SECOND_MODE" in capsys.readouterr().err


def test_the_seeds_names_make_a_bucket_of_r2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden\n", encoding="utf-8")
    monkeypatch.setenv("STORAGE_MODE", "s3")
    monkeypatch.setenv("CLOUDFLARE_R2_ACCOUNT_ID", "abc123")
    monkeypatch.setenv("CLOUDFLARE_R2_BUCKET_NAME", "pictures")
    monkeypatch.setenv("CLOUDFLARE_R2_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("CLOUDFLARE_R2_SECRET_ACCESS_KEY_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("CLOUDFLARE_R2_PUBLIC_URL", "https://cdn.example/")
    settings = load(StorageSettings)

    assert (settings.s3_endpoint, settings.s3_region) == ("https://abc123.r2.cloudflarestorage.com", "auto")
    assert settings.storage_s3_bucket == "pictures"
    assert settings.storage_s3_secret_access_key.get_secret_value() == "hidden"
    assert "hidden" not in repr(settings)
    assert settings.files_base_url == "https://cdn.example"


def test_without_an_endpoint_the_bucket_is_amazons() -> None:
    settings = StorageSettings(_env_file=None)

    assert (settings.s3_endpoint, settings.s3_region) == (None, "us-east-1")
