"""Sends callbacks as KIE does: signed, at least once, three more tries, then silence (kie.md 7)."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping

import httpx
import structlog

from services.sandbox.core import Sandbox
from services.sandbox.model import Delivery, Outcome, Task
from services.sandbox.ports import Family, Store

TIMEOUT_SECONDS = 15.0  # KIE's own (kie.md 7)
MOST_AT_ONCE = 32  # receivers that hang must not stop the others, nor eat all sockets
LONGEST_WAIT_SECONDS = 60.0  # a look at the table now and then costs nothing
HOLD_SECONDS = 120.0  # how long a create may wait for its callback to be tried: the client's own patience (kie.md 9)
STALE_SECONDS = 3600  # well outside the five minutes a receiver should allow
AGENT = "kie-callback/1.0"

logger = structlog.get_logger()


def sign(key: str, task_id: str, timestamp: int) -> str:
    """Base64 of HMAC-SHA256 over taskId + "." + timestamp; the body is not part of it (kie.md 7)."""
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def signature_headers(key: str, task: Task, timestamp: int) -> dict[str, str]:
    """The two headers, spoiled in the way the task's script wants; none without a key."""
    style = task.life.signature
    if not key or style == "none":
        return {}
    when = timestamp - STALE_SECONDS if style == "stale" else timestamp
    secret = f"not-{key}" if style == "bad" else key
    return {"X-Webhook-Timestamp": str(when), "X-Webhook-Signature": sign(secret, task.id, when)}


@contextlib.asynccontextmanager
async def open_client() -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP client of the callbacks; it takes no proxy from the environment, receivers are near."""
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS, headers={"user-agent": AGENT}) as client:
        yield client


class Sender:
    """Sends what is due. All it must remember is in the store, so a restart goes on where the process died."""

    def __init__(
        self,
        sandbox: Sandbox,
        store: Store,
        families: Mapping[str, Family],
        client: httpx.AsyncClient,
        *,
        key: str,
        spacing: tuple[float, ...],
    ) -> None:
        self._sandbox = sandbox
        self._store = store
        self._families = families
        self._client = client
        self._key = key
        self._spacing = spacing
        self._changed = asyncio.Event()
        self._busy: set[str] = set()
        self._waiting: dict[str, asyncio.Event] = {}

    def wake(self) -> None:
        """Look again: a task was made, or the clock was moved."""
        self._changed.set()

    async def first_try(self, task_id: str) -> None:
        """Wait until a callback of the task was tried once, whatever came of it."""
        tried = self._waiting.setdefault(task_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_SECONDS):
                await tried.wait()

    async def run(self) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = self._sandbox.now_ms()  # one look: what becomes due between two would be overlooked
                for delivery in self._ready(now):
                    self._busy.add(delivery.task_id)
                    group.create_task(self._deliver(delivery))
                await self._pause(now)

    def _ready(self, now: int) -> list[Delivery]:
        """What may go now: one callback of a task at a time, so that they keep their order."""
        first: dict[str, Delivery] = {}
        for delivery in self._store.deliveries.due(now):
            if delivery.task_id not in self._busy:
                first.setdefault(delivery.task_id, delivery)
        return list(first.values())[: MOST_AT_ONCE - len(self._busy)]

    async def _pause(self, now: int) -> None:
        due = self._store.deliveries.next_due_ms(now)
        seconds = LONGEST_WAIT_SECONDS if due is None else min((due - now) / 1000, LONGEST_WAIT_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _deliver(self, delivery: Delivery) -> None:
        task = self._store.tasks.get(delivery.task_id)
        if task:
            self._note(delivery, await self._post(task, success=delivery.success))
        self._busy.discard(delivery.task_id)
        self._waiting.pop(delivery.task_id, asyncio.Event()).set()
        self.wake()

    def _note(self, delivery: Delivery, outcome: Outcome) -> None:
        now, again = self._sandbox.now_ms(), delivery.attempts < len(self._spacing)
        retry = again and not outcome.accepted
        due = now + round(self._spacing[delivery.attempts] * 1000) if retry else None
        self._store.deliveries.note(delivery, outcome, now, due)
        logger.info("callback tried", task=delivery.task_id, status=outcome.status, error=outcome.error, retry=retry)

    async def _post(self, task: Task, *, success: bool) -> Outcome:
        body = self._families[task.draft.family].callback(self._sandbox.view(task), success=success)
        headers = {"content-type": "application/json"} | signature_headers(self._key, task, int(time.time()))
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                reply = await self._client.post(task.draft.callback_url, content=json.dumps(body), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return Outcome(0, type(error).__name__)
        return Outcome(reply.status_code)
