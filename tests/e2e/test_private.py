"""What a running stack keeps to itself: files for its own user only, and secrets for the processes that need them."""

import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.stack import Stack, running

pytestmark = pytest.mark.e2e
SECRETS = {
    "EXPORT_TOKEN": ("canary-of-the-export-token", {"gateway"}),
    "KIE_WEBHOOK_HMAC_KEY": ("canary-of-the-webhook-key", {"services.generation", "services.sandbox"}),
}


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with secrets that has made and kept a picture."""
    data = tmp_path_factory.mktemp("private") / "data"
    settings = {name: value for name, (value, _) in SECRETS.items()}
    with running(data, SANDBOX_GENERATION_SECONDS="0.5", SANDBOX_IMAGE_SIDE="128", **settings) as stack:
        stack.picture(stack.order("a locked diary"))
        yield stack


def test_whatever_a_stack_writes_is_its_own_users_only(private: Stack) -> None:
    paths = [private.data, *private.data.rglob("*")]
    open_ = [str(path) for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o077]

    assert open_ == []
    assert {path.suffix for path in paths} >= {".sqlite3", ".yaml", ".png"}


@pytest.mark.parametrize("name", SECRETS)
def test_a_process_holds_no_secret_of_another(private: Stack, name: str) -> None:
    value, needed = SECRETS[name]
    children = private.launcher.children(recursive=True)
    holders = {module_of(child) for child in children if value in child.environ().values()}

    assert holders == needed
    assert len(children) >= 8


def module_of(process: psutil.Process) -> str:
    """The module that a process of ours runs; else its program."""
    line = process.cmdline()
    return line[line.index("-m") + 1] if "-m" in line else Path(line[0]).name
