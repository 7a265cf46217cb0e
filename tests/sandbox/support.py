"""What the tests use: a sandbox process, a receiver of its callbacks, a customer, and a sandbox without HTTP."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx

from services.chassis.addresses import ListenPort, port_of
from services.sandbox.accounts import Accounts
from services.sandbox.families import FAMILIES
from services.sandbox.files import Files
from services.sandbox.model import Rules, Task
from services.sandbox.store import Clock, Store
from services.sandbox.tasks import Tasks
from tests.support.polling import until

HMAC_KEY = "sim-webhook-key"
DEADLINE_SECONDS = 60.0  # a process may start slowly on a machine that runs other tests
Json = dict[str, Any]


@dataclass
class Receiver:
    """The callbacks that arrived, by path, and the statuses that are still to be answered there."""

    url: str
    bodies: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    headers: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def first(self, path: str) -> Json:
        """Waits for the first body at a path."""
        body: Json = until(lambda: self.bodies[path])[0]
        return body


def handler_for(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    """A handler class that records every POST."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            receiver.headers[self.path].append(self.headers)
            receiver.bodies[self.path].append(body)
            self.send_response(receiver.statuses[self.path].pop(0) if receiver.statuses[self.path] else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
            """Logs nothing."""

    return Handler


@dataclass
class Process:
    """The real process, which can be killed and started again on the same data."""

    data_dir: Path
    base: int
    environment: dict[str, str]
    child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{port_of(ListenPort.SANDBOX, self.base)}"

    def start(self) -> None:
        known = {"DATA_DIR": str(self.data_dir), "INTERNAL_PORT_BASE": str(self.base), "LOG_LEVEL": "error"}
        environment = os.environ | known | self.environment
        self.child = subprocess.Popen([sys.executable, "-m", "services.sandbox"], env=environment)
        until(self._serves)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.child
        self.child.send_signal(how)
        return self.child.wait(DEADLINE_SECONDS)

    def _serves(self) -> bool:
        assert self.child
        assert self.child.poll() is None, "the sandbox ended instead of serving"
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


QUICK = {
    "SANDBOX_GENERATION_SECONDS": "0.2",
    "SANDBOX_CALLBACK_RETRY_SECONDS": "0.05,0.05,0.05",
    "SANDBOX_IMAGE_SIDE": "96",
    "SANDBOX_READ_LIMIT": "1000",
    "KIE_WEBHOOK_HMAC_KEY": HMAC_KEY,
}


@dataclass
class Customer:
    """One account, which calls the sandbox as a client of KIE does."""

    http: httpx.Client
    callback: str

    def post(self, path: str, body: Json) -> httpx.Response:
        return self.http.post(path, json=body)

    def get(self, path: str, /, **query: str) -> httpx.Response:
        return self.http.get(path, params=query)

    def create_4o(self, prompt: str, **more: Any) -> httpx.Response:
        body = {"prompt": prompt, "size": "3:2", "callBackUrl": self.callback} | more
        return self.post("/api/v1/gpt4o-image/generate", body)

    def task_4o(self, prompt: str) -> str:
        reply: Json = self.create_4o(prompt).json()
        return str(reply["data"]["taskId"])

    def record_4o(self, task_id: str) -> Json:
        reply: Json = self.get("/api/v1/gpt4o-image/record-info", taskId=task_id).json()
        return reply

    def finished_4o(self, task_id: str) -> Json:
        """Waits for the end of the task and returns its record's data."""
        data: Json = until(lambda: (d := self.record_4o(task_id)["data"]) and d["successFlag"] and d)
        return data

    def ledger(self, prompt: str) -> list[Json]:
        entries: list[Json] = self.get("/sandbox/ledger", prompt=prompt).json()["entries"]
        return entries

    def deliveries(self, task_id: str) -> list[Json]:
        entries: list[Json] = self.get(f"/sandbox/tasks/{task_id}").json()["deliveries"]
        return entries


RULES = Rules(
    base_url="http://sandbox",
    credits=Decimal(20),
    generation_ms=3000,
    result_ttl_ms=14 * 86_400_000,
    upload_ttl_ms=86_400_000,
    create_limit=20,
    create_window_ms=10_000,
    read_limit=3,
    image_side=96,
)
START_MS = 1_760_000_000_000


@dataclass
class InProcess:
    """A sandbox without HTTP, on a real database file and a clock that stands still."""

    store: Store
    folder: Path
    now: int = START_MS

    def __post_init__(self) -> None:
        ids = (f"{number:032x}" for number in range(1_000_000))
        self.clock = Clock(self.store, lambda: self.now)
        self.accounts = Accounts(self.store, RULES, self.clock)
        self.tasks = Tasks(self.store, self.accounts, RULES, self.clock, lambda: next(ids))
        self.files = Files(
            self.store, self.tasks, RULES, self.clock, new_token=lambda: f"link{next(ids)}", folder=self.folder
        )
        self.accounts.authenticate("Bearer sandbox-shop")

    def create(
        self, prompt: str = "a cat", account: str = "shop", family: str = "gpt4o_image", **fields: object
    ) -> Task:
        """A task as the create route makes it."""
        body = {"prompt": prompt, "size": "2:3", "callBackUrl": "http://127.0.0.1:9/"} | fields
        found = FAMILIES[family]
        return self.tasks.create(self.tasks.begin(account, family, found.prompt(body)), found.parse(body))
