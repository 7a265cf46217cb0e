"""A worker that was taken over can read pictures, and nothing else: the kernel keeps it from the rest."""

import asyncio
import json
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.storage.media.confinement import ARCHITECTURES, LANDLOCK, SECCOMP
from tests.storage.media.escape_attempts import ATTEMPTS


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a worker that tries everything gets."""
    folder = tmp_path_factory.mktemp("readable")
    (folder / "picture").write_bytes(b"a picture")
    (folder / "picture").chmod(0o700)
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("a secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-m", "tests.storage.media.escape_attempts", folder, secret]
        port = str(server.getsockname()[1])
        answer = subprocess.run([*command, port], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, object] = json.loads(answer.stdout)
    return found | {"secret": secret.read_text(), "files": [path.name for path in folder.iterdir()]}


def held(outcome: dict[str, object], name: str) -> None:
    """Skip where the kernel has no such thing."""
    confined = outcome["confined"]
    assert isinstance(confined, list)
    if name not in confined:
        pytest.skip(f"this kernel has no {name}")


def test_it_can_still_read_pictures(outcome: dict[str, object]) -> None:
    assert outcome["read_picture"] == "done"


@pytest.mark.parametrize("name", sorted(ATTEMPTS))
def test_the_kernel_refuses_it(outcome: dict[str, object], name: str) -> None:
    """Each of these succeeds before it is confined."""
    if name == "read_secret":
        held(outcome, LANDLOCK)
    else:
        held(outcome, SECCOMP)
    assert outcome["before"] == dict.fromkeys(sorted(ATTEMPTS), "done")
    assert outcome[name] in ("EPERM", "EACCES")


def test_nothing_was_written(outcome: dict[str, object]) -> None:
    held(outcome, SECCOMP)
    assert (outcome["secret"], outcome["files"]) == ("a secret", ["picture"])


@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="no table of system calls for this machine")
async def test_a_worker_says_what_holds_it(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "services.storage.media.worker", str(512 << 20), "5", str(tmp_path)]
    ran = await asyncio.to_thread(subprocess.run, program, input=b"", capture_output=True, check=False)

    assert json.loads(ran.stdout[8:]).keys() == {"confined"}
    assert ran.returncode == 0
