"""The knobs, as an operator sets them."""

from pathlib import Path

import pytest

from services.chassis.settings import load
from services.storage.settings import StorageSettings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_private_places_are_given_as_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_ALLOW_PRIVATE", "127.0.0.1:50056, Sandbox.Example:80,")

    assert load(StorageSettings).outbound_allow_private == {"127.0.0.1:50056", "sandbox.example:80"}


def test_a_private_place_without_a_port_is_named_as_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUTBOUND_ALLOW_PRIVATE", "127.0.0.1")

    with pytest.raises(SystemExit):
        load(StorageSettings)
    assert "OUTBOUND_ALLOW_PRIVATE" in capsys.readouterr().err


def test_objects_lie_under_the_data_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "town")
    assert load(StorageSettings).objects_dir == Path("town/objects")

    monkeypatch.setenv("STORAGE_DIR", "elsewhere")
    assert load(StorageSettings).objects_dir == Path("elsewhere")
