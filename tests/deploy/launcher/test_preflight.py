"""A second stack, a foreign port and an unwritable folder each get a sentence that helps."""

import socket
import stat
from pathlib import Path

import pytest

from deploy.launcher.model import LaunchError, Port
from deploy.launcher.preflight import claimed, require_free


def test_data_that_a_stack_uses_is_refused_to_another(tmp_path: Path) -> None:
    with (
        claimed(tmp_path),
        pytest.raises(LaunchError, match=r"Another stack \(process \d+\) already runs on the data in .*set DATA_DIR"),
        claimed(tmp_path),
    ):
        pass


def test_data_is_free_again_once_its_stack_has_ended(tmp_path: Path) -> None:
    with claimed(tmp_path):
        pass
    with claimed(tmp_path):
        pass


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with (
        pytest.raises(LaunchError, match=r"DATA_DIR cannot be written: .*/file/data"),
        claimed(tmp_path / "file" / "data"),
    ):
        pass


def test_every_busy_port_is_named_with_the_variable_that_moves_it(base: int) -> None:
    doors = [
        Port("127.0.0.1", base, "the public port", "PORT"),
        Port("127.0.0.1", base + 1, "share", "INTERNAL_PORT_BASE"),
    ]
    with (
        socket.create_server(("127.0.0.1", base)),
        socket.create_server(("127.0.0.1", base + 1)),
        pytest.raises(LaunchError) as refusal,
    ):
        require_free(doors)

    assert f"127.0.0.1:{base} (the public port): set PORT" in str(refusal.value)
    assert f"127.0.0.1:{base + 1} (share): set INTERNAL_PORT_BASE" in str(refusal.value)
    require_free(doors)


def test_the_data_is_closed_to_other_users(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    old.chmod(0o755)
    with claimed(old), claimed(new):
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in (old, new)] == [0o700, 0o700]
