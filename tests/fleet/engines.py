"""The engines of a fleet on their hosts, which can be killed, frozen and started again."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import boto3
from botocore.config import Config
from redis import Redis
from redis.exceptions import RedisError

from deploy.launcher.processes import valkey_binary
from tests.fleet.network import Host
from tests.support.polling import until
from tests.support.s3 import answers_http

CACHE_PORT, BUCKET_PORT = 6379, 9000
START_SECONDS = 60.0
KEYS = ("an-access-key", "a-secret-key")


class Server:
    """A program on a host."""

    def __init__(self, host: Host, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.host = host
        self._command, self._environment, self._folder = tuple(command), dict(environment), folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has written."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it; it may not run."""
        self.process = self.host.start(self._command, self._environment, self._folder / "log", self._folder)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: it takes connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


class Cache(Server):
    """Valkey."""

    def __init__(self, host: Host, folder: Path) -> None:
        password = secrets.token_urlsafe(16)
        command = (valkey_binary(), "--bind", host.address, "--port", str(CACHE_PORT), "--requirepass", password)
        super().__init__(host, (*command, "--save", ""), {}, folder / "cache")
        self.url = f"redis://:{password}@{host.address}:{CACHE_PORT}/0"
        self.redis = Redis.from_url(self.url)

    def start(self) -> None:
        """Start it and wait until it answers."""
        super().start()
        until(self._answers, START_SECONDS)

    def _answers(self) -> bool | None:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return None


class Bucket(Server):
    """moto's S3, which keeps objects in memory: it is cut off and frozen, never killed."""

    def __init__(self, host: Host, folder: Path) -> None:
        command = (sys.executable, "-m", "moto.server", "-H", host.address, "-p", str(BUCKET_PORT))
        super().__init__(host, command, {"PATH": os.environ["PATH"]}, folder / "bucket")
        self.endpoint = f"http://{host.address}:{BUCKET_PORT}"
        self.name = "fleet"

    def start(self) -> None:
        """Start it, wait until it answers, and make the bucket."""
        super().start()
        until(lambda: answers_http(self.endpoint) or None, START_SECONDS)
        config = Config(s3={"addressing_style": "path"})
        keys = dict(zip(("aws_access_key_id", "aws_secret_access_key"), KEYS, strict=True))
        self.client = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config, **keys)
        self.client.create_bucket(Bucket=self.name)

    def settings(self) -> dict[str, str]:
        """How storage is told of it."""
        return {
            "STORAGE_MODE": "s3",
            "STORAGE_S3_ENDPOINT": self.endpoint,
            "STORAGE_S3_BUCKET": self.name,
            "STORAGE_S3_ACCESS_KEY_ID": KEYS[0],
            "STORAGE_S3_SECRET_ACCESS_KEY": KEYS[1],
        }
