"""What tests of the community are made with: a clock that stands still, every stub, and a Valkey to kill or pause."""

import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from kawaii.community.v1 import admin_pb2_grpc as adminrpc
from kawaii.community.v1 import artworks_pb2_grpc as artworksrpc
from kawaii.community.v1 import credits_pb2_grpc as creditsrpc
from kawaii.community.v1 import users_pb2_grpc as usersrpc
from redis import Redis
from redis.exceptions import RedisError

START_MS = 1_700_000_000_000
START_SECONDS = 30.0
BLOCK = 16  # ports of a town
Refused = Callable[..., AbstractContextManager[None]]


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = START_MS

    def __call__(self) -> int:
        return self.now


class Client:
    """Stubs of every service of the community."""

    def __init__(self, channel: aio.Channel) -> None:
        self.artworks = artworksrpc.ArtworkServiceStub(channel)
        self.users = usersrpc.UserServiceStub(channel)
        self.credits = creditsrpc.CreditServiceStub(channel)
        self.admin = adminrpc.CommunityAdminServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)


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


def free_base() -> int:
    """An INTERNAL_PORT_BASE whose ports are free, below the range from which the kernel takes its own."""
    starts = random.sample(range(20_000, 31_000, BLOCK), k=200)
    return next(start for start in starts if all(is_free(port) for port in range(start, start + BLOCK)))


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with suppress(OSError), socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        return True
    return False
