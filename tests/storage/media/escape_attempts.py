"""What a worker that was taken over might try; run as a program, it tries all of it before and after it is confined.

`python -m tests.storage.media.escape_attempts FOLDER SECRET PORT`
"""

import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from services.storage.media.confinement import confine

FOLDER, SECRET, PORT = Path(), Path(), 0


def connect() -> None:
    with socket.create_connection(("127.0.0.1", PORT)):
        pass


def listen() -> None:
    socket.create_server(("127.0.0.1", 0)).close()


def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"a picture of somebody", ("127.0.0.1", PORT))


def open_unix_socket() -> None:
    socket.socket(socket.AF_UNIX).close()


def read_secret() -> None:
    SECRET.read_text()


def write_file() -> None:
    (FOLDER / "new").write_bytes(b"x")
    (FOLDER / "new").unlink()


def overwrite_picture() -> None:
    with (FOLDER / "picture").open("r+b"):
        pass


def rename_picture() -> None:
    (FOLDER / "picture").rename(FOLDER / "other")
    (FOLDER / "other").rename(FOLDER / "picture")


def make_folder() -> None:
    (FOLDER / "folder").mkdir()
    (FOLDER / "folder").rmdir()


def make_link() -> None:
    (FOLDER / "link").symlink_to(SECRET)
    (FOLDER / "link").unlink()


def change_mode() -> None:
    (FOLDER / "picture").chmod(0o700)


def touch() -> None:
    os.utime(FOLDER / "picture")


def start_process() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def signal_parent() -> None:
    os.kill(os.getppid(), 0)


def replace_itself() -> None:
    try:
        os.execv(FOLDER / "picture", ["picture"])  # noqa: S606 - no program, but to know that the kernel must look
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise


ATTEMPTS: dict[str, Callable[[], None]] = {
    attempt.__name__: attempt
    for attempt in (
        connect,
        listen,
        send_datagram,
        open_unix_socket,
        read_secret,
        write_file,
        overwrite_picture,
        rename_picture,
        make_folder,
        make_link,
        change_mode,
        touch,
        start_process,
        signal_parent,
        replace_itself,
    )
}


def tried(attempt: Callable[[], object]) -> str:
    """What becomes of it."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


if __name__ == "__main__":
    FOLDER, SECRET, PORT = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    signal.alarm(60)
    before = {name: tried(ATTEMPTS[name]) for name in sorted(ATTEMPTS)}
    held = confine([str(FOLDER)])
    after = {name: tried(attempt) for name, attempt in ATTEMPTS.items()}
    read = tried((FOLDER / "picture").read_bytes)
    sys.stdout.write(json.dumps({**after, "before": before, "confined": held, "read_picture": read}))
