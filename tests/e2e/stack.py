"""A running stack for the tests: the real launcher on free ports and a data folder of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.generation.v1.generation_pb2 import ListGenerationsRequest

from services.chassis.addresses import ListenPort
from tests.support.polling import until
from tests.support.ports import BLOCK, free_base

START_SECONDS = 60.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stack:
    """Where a stack is and how to talk to it."""

    base: int
    data: Path
    launcher: psutil.Process
    http: httpx.Client

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    @property
    def sandbox(self) -> str:
        return f"http://127.0.0.1:{self.base + 6}"

    @property
    def redis_url(self) -> str:
        """The embedded Valkey, with its password."""
        password = (self.data / "valkey-password").read_text(encoding="ascii").strip()
        return f"redis://:{password}@127.0.0.1:{self.base + 7}/0"

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.http.post(path, json=body)

    def order(self, prompt: str) -> str:
        """Order a 4o picture; its taskId."""
        return str(self.post("/api/generate-image", {"prompt": prompt}).raise_for_status().json()["taskId"])

    def record(self, task: str) -> dict[str, Any]:
        """The record of a task as a front end reads it."""
        answer = self.http.get("/api/image-details", params={"taskId": task}).raise_for_status().json()
        return dict(answer["data"]["data"])

    def picture(self, task: str) -> str:
        """Wait for the stored picture; its URL."""
        record = until(lambda: self._settled(task))
        assert record["status"] == "SUCCESS", record
        return str(record["response"]["resultUrls"][0])

    def bills(self, prompt: str) -> list[dict[str, Any]]:
        """What the sandbox has billed for a prompt."""
        ledger = httpx.get(f"{self.sandbox}/sandbox/ledger", params={"prompt": prompt}).raise_for_status().json()
        return list(ledger["entries"])

    def task_of(self, prompt: str) -> str:
        """The generation that has this prompt, as an operator finds it."""
        with grpc.insecure_channel(f"127.0.0.1:{self.base + 1}") as channel:
            listed = generationrpc.GenerationServiceStub(channel).ListGenerations(ListGenerationsRequest())
        return next(g.name.removeprefix("generations/") for g in listed.generations if g.prompt == prompt)

    def process(self, name: str) -> psutil.Process:
        """The process of the stack whose command line holds this word."""
        return until(lambda: next((p for p in self._children() if name in " ".join(self._line(p))), None))

    def _children(self) -> list[psutil.Process]:
        return self.launcher.children(recursive=True)

    def _line(self, process: psutil.Process) -> list[str]:
        with suppress(psutil.Error):
            return process.cmdline()
        return []

    def _settled(self, task: str) -> dict[str, Any] | None:
        """The record once it is over; None while it is not, or while a restart is on its way."""
        with suppress(httpx.HTTPError):
            record = self.record(task)
            return record if record["status"] != "GENERATING" else None
        return None


@contextmanager
def running(
    data: Path, python: str = sys.executable, *, code: Path = ROOT, cli: str = "deploy.cli.main", **settings: str
) -> Iterator[Stack]:
    """Start a stack, wait until it is ready, and stop it as Ctrl-C would. code is a checkout, cli its command."""
    base = free_base()
    port = base + BLOCK - 1
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KIE_", "AUTH_"))}
    environment["RATE_LIMITS_ENABLED"] = "0"  # every test and every load comes from one address
    environment |= {"PORT": str(port), "INTERNAL_PORT_BASE": str(base), "DATA_DIR": str(data), "LOG_FORMAT": "json"}
    command = [python, "-m", cli, "up"]
    log = data.parent / f"{data.name}.log"
    with log.open("wb") as output, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        launcher = subprocess.Popen(command, cwd=code, env=environment | settings, stdout=output, stderr=output)
        try:
            until(lambda: ready(client, launcher, log), START_SECONDS)
            yield Stack(base, data, psutil.Process(launcher.pid), client)
        finally:
            launcher.send_signal(signal.SIGTERM)
            launcher.wait(60)


WITH_DATABASE = (
    ListenPort.GENERATION_METRICS,
    ListenPort.STORAGE_METRICS,
    ListenPort.SHARE_METRICS,
    ListenPort.COMMUNITY_METRICS,
)


def assert_transactions_were_short_on_event_loops(stack: Stack) -> None:
    """The probe: no transaction has had a process's event loop compute for longer than 20 ms at a stretch.

    By CPU time, so that busy neighbours do not matter.
    """
    for process in WITH_DATABASE:
        text = httpx.get(f"http://127.0.0.1:{stack.base + process}/metrics").raise_for_status().text
        histogram = re.findall(r'^kawaii_database_loop_seconds_bucket\{le="(.+)"\} (\S+)$', text, re.MULTILINE)
        counts = {bound: float(count) for bound, count in histogram}
        assert counts["0.02"] == counts["+Inf"] > 0, (process.name, counts)


def ready(client: httpx.Client, launcher: subprocess.Popen[bytes], log: Path) -> bool | None:
    """True once /readyz says so; None while it does not."""
    assert launcher.poll() is None, log.read_text()[-4000:]
    with suppress(httpx.HTTPError):
        return client.get("/readyz").status_code == httpx.codes.OK or None
    return None
