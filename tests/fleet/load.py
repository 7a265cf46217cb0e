"""A client of a fleet: reads and orders at a steady rate, whatever becomes of those before, and what it saw."""

import asyncio
import itertools
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

ORDER_EVERY = 10  # one request of so many is an order, or more, but no more a second than two cores make besides
ORDERS_PER_SECOND = 2.5
REPEATS = 12  # of an order whose answer says that it may be repeated
PAUSE_SECONDS = 0.5
TIMEOUT = httpx.Timeout(20.0)
LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=20)
UNFINISHED_SECONDS = 60.0
REPEATABLE = {429, 500, 502, 503, 504}


@dataclass
class Seen:
    """What the client saw: requests, what failed although it was asked twice, and the orders that were taken."""

    requests: int = 0
    repeated: int = 0
    failures: list[str] = field(default_factory=list)
    orders: dict[str, str] = field(default_factory=dict)
    """Task ids by prompt."""
    answers: Counter[str] = field(default_factory=Counter)


class Load:
    """`rate` requests a second, open loop, from a thread with an event loop of its own."""

    def __init__(self, url: str, paths: list[str], rate: float, *, orders: bool = True, repeat: bool = True) -> None:
        self.seen = Seen()
        self._url, self._paths, self._rate = url, itertools.cycle(paths), rate
        self._orders, self._repeat = orders, repeat
        self._order_every = max(ORDER_EVERY, round(rate / ORDERS_PER_SECOND))
        self._run = uuid.uuid4().hex[:8]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> Seen:
        """Send nothing more, wait for what is under way, and return what was seen."""
        self._stopping.set()
        self._thread.join(UNFINISHED_SECONDS + TIMEOUT.read if TIMEOUT.read else UNFINISHED_SECONDS)
        assert not self._thread.is_alive(), "requests of the load did not end"
        return self.seen

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=TIMEOUT, limits=LIMITS, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            for number in itertools.count():
                if self._stopping.is_set():
                    break
                is_order = self._orders and number % self._order_every == 0
                group.create_task(self._order(client, number) if is_order else self._read(client, next(self._paths)))
                await asyncio.sleep(max(0.0, began + (number + 1) / self._rate - loop.time()))

    async def _read(self, client: httpx.AsyncClient, path: str) -> None:
        self.seen.requests += 1
        first = await self._attempt(client.get(path))
        if isinstance(first, str) and self._repeat:
            self.seen.repeated += 1
            first = await self._attempt(client.get(path))
        if isinstance(first, str):
            self.seen.failures.append(f"GET {path}: {first}")

    async def _order(self, client: httpx.AsyncClient, number: int) -> None:
        """Order, and repeat under the same key while the answer, or its absence, says that this is safe."""
        self.seen.requests += 1
        prompt = f"{self._run} {number}"
        answer: httpx.Response | str = ""
        for repeat in range(REPEATS if self._repeat else 1):
            self.seen.repeated += bool(repeat)
            headers = {"Idempotency-Key": f"key-{self._run}-{number}"}
            answer = await self._attempt(client.post("/api/generate-image", json={"prompt": prompt}, headers=headers))
            if not isinstance(answer, str):
                self.seen.orders[prompt] = str(answer.json()["taskId"])
                return
            await asyncio.sleep(PAUSE_SECONDS)
        self.seen.failures.append(f"order: {answer}")

    async def _attempt(self, request: "asyncio.Future[httpx.Response] | object") -> httpx.Response | str:
        """The answer of a request, or why it is none."""
        try:
            answer: httpx.Response = await request  # type: ignore[misc] # a coroutine of httpx
        except httpx.HTTPError as error:
            self.seen.answers[type(error).__name__] += 1
            return f"{type(error).__name__} {error}"
        self.seen.answers[str(answer.status_code)] += 1
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            return f"{answer.status_code} {answer.text[:200]}"
        return answer


@contextmanager
def loading(load: Load) -> Iterator[Load]:
    """A load while the context lasts; whoever left it reads `load.seen`."""
    load.start()
    try:
        yield load
    finally:
        load.stop()
