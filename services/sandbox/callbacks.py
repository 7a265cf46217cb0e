"""Sends callbacks as KIE does: signed, at least once, a few more attempts when refused, then never again.

The sender sleeps until the next delivery is due or somebody wakes it, and sends one callback of a task at a time. Rows
of the store are all it must remember, so a restart continues where the process died. Facts: docs/provider.md#webhooks.
"""

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

from services.sandbox.families.family import Family
from services.sandbox.model import Delivery, DeliveryResult, Task
from services.sandbox.store import Clock, Store
from services.sandbox.tasks import Tasks

TIMEOUT_SECONDS = 15.0  # KIE's own
MOST_AT_ONCE = 32  # receivers that hang must not stop the others, nor take all sockets
LONGEST_WAIT_SECONDS = 60.0  # reading the table once a minute costs nothing
HOLD_SECONDS = 120.0  # how long a create may wait for its callback: as long as generation waits for a reply
STALE_SECONDS = 3600  # well outside the five minutes a receiver should allow
AGENT = "kie-callback/1.0"

logger = structlog.get_logger()


def sign(key: str, task_id: str, timestamp: int) -> str:
    """Base64 of HMAC-SHA256 over taskId + "." + timestamp; KIE does not sign the body."""
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def signature_headers(key: str, task: Task, timestamp: int) -> dict[str, str]:
    """The two signature headers, wrong in the way that the task's script asks for; none without a key."""
    style = task.life.signature
    if not key or style == "none":
        return {}
    when = timestamp - STALE_SECONDS if style == "stale" else timestamp
    secret = f"not-{key}" if style == "bad" else key
    return {"X-Webhook-Timestamp": str(when), "X-Webhook-Signature": sign(secret, task.id, when)}


@contextlib.asynccontextmanager
async def open_client() -> AsyncIterator[httpx.AsyncClient]:
    """Opens the HTTP client of the callbacks, which uses no proxy of the environment: receivers are near."""
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS, headers={"user-agent": AGENT}) as client:
        yield client


class Sender:
    """Sends the deliveries that are due; retry_delays are the seconds before each repeated attempt."""

    def __init__(
        self,
        store: Store,
        tasks: Tasks,
        clock: Clock,
        families: Mapping[str, Family],
        client: httpx.AsyncClient,
        *,
        key: str,
        retry_delays: tuple[float, ...],
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._families = families
        self._client = client
        self._key = key
        self._retry_delays = retry_delays
        self._changed = asyncio.Event()
        self._busy: set[str] = set()
        self._waiting: dict[str, asyncio.Event] = {}

    def wake(self) -> None:
        """Reads the deliveries again: a task was created, or the clock was put forward."""
        self._changed.set()

    async def first_attempt(self, task_id: str) -> None:
        """Waits until one attempt to deliver a callback of the task has ended, at most HOLD_SECONDS."""
        tried = self._waiting.setdefault(task_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_SECONDS):
                await tried.wait()

    async def run(self) -> None:
        """Sends until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                # Read once: a delivery that becomes due between two readings would wait for the next wake-up.
                now = self._clock.now_ms()
                for delivery in self._ready(now):
                    self._busy.add(delivery.task_id)
                    group.create_task(self._deliver(delivery))
                await self._pause(now)

    def _ready(self, now: int) -> list[Delivery]:
        """The due deliveries that may be sent now: one of a task at a time, so that they keep their order."""
        first: dict[str, Delivery] = {}
        for delivery in self._store.due_deliveries(now):
            if delivery.task_id not in self._busy:
                first.setdefault(delivery.task_id, delivery)
        return list(first.values())[: MOST_AT_ONCE - len(self._busy)]

    async def _pause(self, now: int) -> None:
        due = self._store.next_due_ms(now)
        seconds = LONGEST_WAIT_SECONDS if due is None else min((due - now) / 1000, LONGEST_WAIT_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _deliver(self, delivery: Delivery) -> None:
        task = self._store.task(delivery.task_id)
        if task:
            self._log(delivery, await self._post(task, success=delivery.success))
        self._busy.discard(delivery.task_id)
        self._waiting.pop(delivery.task_id, asyncio.Event()).set()
        self.wake()

    def _log(self, delivery: Delivery, result: DeliveryResult) -> None:
        now, again = self._clock.now_ms(), delivery.attempts < len(self._retry_delays)
        retry = again and not result.accepted
        due = now + round(self._retry_delays[delivery.attempts] * 1000) if retry else None
        self._store.add_attempt(delivery, result, now, due)
        logger.info("callback tried", task=delivery.task_id, status=result.status, error=result.error, retry=retry)

    async def _post(self, task: Task, *, success: bool) -> DeliveryResult:
        body = self._families[task.spec.family].callback(self._tasks.view(task), success=success)
        headers = {"content-type": "application/json"} | signature_headers(self._key, task, int(time.time()))
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                reply = await self._client.post(task.spec.callback_url, content=json.dumps(body), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return DeliveryResult(0, type(error).__name__)
        return DeliveryResult(reply.status_code)
