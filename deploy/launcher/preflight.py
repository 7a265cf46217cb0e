"""Prepares the start: claims the data folder, checks that the ports are free, writes files, raises the file limit."""

import fcntl
import os
import resource
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.launcher.model import LaunchError, Plan, Port

LOCK = "town.lock"
PRIVATE = 0o700

ENOUGH_FILES = 131_072  # twice the connections that Envoy keeps; systems that allow any number reserve memory for each


@contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for as long as the block runs.

    Raises:
        LaunchError: when another stack holds it, or when it cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        keep_private(data_dir)
        lock = (data_dir / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise LaunchError(f"DATA_DIR cannot be written: {error.filename}: {error.strerror}.") from None
    with lock:
        _lock(lock.fileno(), data_dir)
        yield


def keep_private(folder: Path) -> None:
    """Close a folder to other users; one that is somebody else's is theirs to close."""
    if folder.stat().st_uid == os.getuid():
        folder.chmod(PRIVATE)


def _lock(file: int, data_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = (data_dir / LOCK).read_text(encoding="utf-8").strip()
        raise LaunchError(
            f"Another stack (process {owner}) already runs on the data in {data_dir}. "
            "Stop it first, or set DATA_DIR, PORT and INTERNAL_PORT_BASE for a stack beside it."
        ) from None
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()}\n".encode())


def require_free(ports: Iterable[Port]) -> None:
    """Make sure that every port can be had.

    Raises:
        LaunchError: naming each port that cannot, and the variable that moves it.
    """
    busy = [f"  {port.host}:{port.port} ({port.owner}): set {port.variable}" for port in ports if not free(port)]
    if busy:
        raise LaunchError("\n".join(["These ports are taken by other programs, or not ours to open:", *busy]))


def free(port: Port) -> bool:
    """Whether we could listen there now."""
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with suppress(OSError), socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((port.host, port.port))
        return True
    return False


def prepare(plan: Plan) -> None:
    """Write the folders and files that the plan's processes expect."""
    for folder in (*map(Path, plan.folders), *(Path(file).parent for file in plan.files)):
        folder.mkdir(parents=True, exist_ok=True)
    for file, text in plan.files.items():
        Path(file).touch(mode=0o600)  # some hold secrets
        Path(file).write_text(text, encoding="utf-8")


def most_files() -> int:
    """How many files the system lets a process of this user open, at most ENOUGH."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH_FILES if most == resource.RLIM_INFINITY else min(most, ENOUGH_FILES)


def allow_files() -> None:
    """Let this process, and all that it starts, open as many."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if now == resource.RLIM_INFINITY or now >= most_files():
        return
    with suppress(OSError, ValueError):  # macOS has a bound of its own below the one that it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files(), most))
