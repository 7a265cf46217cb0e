"""What the checker compares: facts from provider, databases and disk, and observations from outside of the services.

`Facts` is read once the stack has settled. `Observations` was written meanwhile by parts that do not know each other:
the clients' log, the proxy before the provider, and the records of which process worked at what and when it ended.
"""

import asyncio
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from sqlalchemy import Row, Table, select

from services.chassis.database import open_database
from services.chassis.errors import Unavailable
from services.generation.model import State
from services.generation.stores import tables
from services.share.stores.tables import share
from services.storage.stores.sql import ANNOUNCED, OBJECTS
from tests.chaos.order_clients import ClientLog
from tests.chaos.process import ProcessRun
from tests.chaos.process_logs import WorkSpan
from tests.chaos.proxy import Call
from tests.chaos.stack import ChaosStack

READS_AT_ONCE = 16
READ_TRIES = 5
TOKEN = re.compile(r"/(att_[0-9a-z]+)\.")
AGENT = {"user-agent": "chaos", "authorization": "Bearer sandbox-a"}
Rows = Sequence[Row[Any]]
DELIVERED = 200
SOON_SECONDS = 6.0  # from an announcement to the end of the process that was killed before it wrote the row
CLOCK_SECONDS = 0.05  # rows round to milliseconds, and a line is written a little later than its event


@dataclass(frozen=True)
class Bill:
    """One entry of the provider's ledger: the attempt in its callback URL, and the status of each callback."""

    task_id: str
    attempt_id: str
    script: str
    state: str
    planned: int
    tries: tuple[int, ...]
    sha256: tuple[str, ...] = ()

    @property
    def delivered(self) -> bool:
        """Whether the gateway answered a callback of this task with 200."""
        return DELIVERED in self.tries


class StateChange(NamedTuple):
    """One event: since when (seconds since 1970) a generation was in a state, and under which attempt."""

    when: float
    state: State
    attempt_id: str


@dataclass(frozen=True)
class Facts:
    """Rows of generation, storage and share, hashes of the stored files by key, and the provider's ledger."""

    generations: Mapping[str, Row[Any]]
    attempts: Rows
    outputs: Rows
    inbox: Rows
    events: Rows
    objects: Rows
    files: Mapping[str, str]
    bills: Sequence[Bill]
    shares: Rows = ()
    announced: Rows = ()

    @cached_property
    def histories(self) -> Mapping[str, Sequence[StateChange]]:
        """The states of each generation, in the order of its events."""
        found: defaultdict[str, list[StateChange]] = defaultdict(list)
        for row in sorted(self.events, key=lambda row: row.sequence):
            snapshot = json.loads(row.snapshot)
            found[row.generation_id].append(
                StateChange(row.create_ms / 1000, State(snapshot["state"]), snapshot["attempt_id"])
            )
        return found


async def rows_of(stack: ChaosStack, service: str, *wanted: Table) -> list[Rows]:
    """All rows of some tables of a service; the read is repeated when the database answers too late."""
    for _ in range(READ_TRIES - 1):
        with suppress(OSError, Unavailable):
            return await _rows_of(stack, service, *wanted)
        await asyncio.sleep(1.0)
    return await _rows_of(stack, service, *wanted)


async def _rows_of(stack: ChaosStack, service: str, *wanted: Table) -> list[Rows]:
    async with open_database(stack.settings, service) as database:
        return await database.read(lambda transaction: [transaction.execute(select(table)).all() for table in wanted])


async def gather_facts(stack: ChaosStack) -> Facts:
    """Read all databases, files and the ledger of a stack that has settled."""
    names = (tables.generation, tables.attempt, tables.output, tables.inbox, tables.outbox)
    generations, attempts, outputs, inbox, events = await rows_of(stack, "generation", *names)
    objects, announced = await rows_of(stack, "storage", OBJECTS, ANNOUNCED)
    (shares,) = await rows_of(stack, "share", share)
    files = await asyncio.to_thread(files_of, stack.data / "objects" / "generated")
    by_id = {row.id: row for row in generations}
    bills = await bills_of(stack, pictures=True)
    return Facts(by_id, attempts, outputs, inbox, events, objects, files, bills, shares, announced)


def files_of(folder: Path) -> dict[str, str]:
    """The hash of each file, by its object key."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {
        f"generated/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)
    }


async def bills_of(stack: ChaosStack, *, pictures: bool = False) -> list[Bill]:
    """The ledger, with each task's callbacks and, if wanted, the hashes of its pictures."""
    limit = asyncio.Semaphore(READS_AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.sandbox, timeout=30, headers=AGENT, trust_env=False) as http:
        entries = (await http.get("/sandbox/ledger")).raise_for_status().json()["entries"]

        async def read(entry: dict[str, Any]) -> Bill:
            async with limit:
                task = (await http.get(f"/sandbox/tasks/{entry['task_id']}")).raise_for_status().json()
                bill = bill_of(task)
                return replace(bill, sha256=await drawn(http, task)) if pictures else bill

        return await asyncio.gather(*map(read, entries))


def bill_of(task: Mapping[str, Any]) -> Bill:
    """The ledger entry of a task, as the sandbox shows it."""
    named = TOKEN.search(task["callback_url"])
    return Bill(
        task["task_id"],
        named.group(1) if named else "",
        task["fault"],
        task["state"],
        task["deliveries_planned"],
        tuple(delivery["status"] for delivery in task["deliveries"]),
    )


async def drawn(http: httpx.AsyncClient, task: Mapping[str, Any]) -> tuple[str, ...]:
    """The hashes of a task's pictures, read by direct links, which no script changes."""
    hashes = []
    for result in task["results"]:
        if result["kind"] == "result":
            url = f"{str(http.base_url).rstrip('/')}/{result['path']}"
            link = (await http.post("/api/v1/common/download-url", json={"url": url})).json()["data"]
            picture = (await http.get(link)).raise_for_status()
            hashes.append(hashlib.sha256(picture.content).hexdigest())
    return tuple(hashes)


@dataclass(frozen=True)
class Observations:
    """What was recorded outside of the code under test; only the spans of work are written by its processes."""

    log: ClientLog
    calls: Sequence[Call]
    spans: Sequence[WorkSpan] = ()
    runs: Sequence[ProcessRun] = ()

    @classmethod
    def of(cls, stack: ChaosStack, log: ClientLog) -> "Observations":
        """The observations of a stack so far."""
        return cls(log, stack.proxy.calls, stack.logs.spans(), stack.runs)

    def definite_answers(self) -> Mapping[str, Call]:
        """By attempt, the call whose answer passed the proxy whole and left no doubt."""
        return {call.attempt: call for call in self.calls if call.attempt and call.verdict}

    def span_of(self, generation_id: str, call: Call) -> WorkSpan | None:
        """The span of work that made a call: of this generation, by this process, the last to begin before it.

        Another process may have taken the generation up before the call was made, when this one was stopped for longer
        than its lease.
        """
        begun = [
            span
            for span in self._of_generation.get(generation_id, ())
            if span.began <= call.began + CLOCK_SECONDS and call.pid in {0, span.pid}
        ]
        return max(begun, key=lambda span: span.began, default=None)

    def process_end(self, span: WorkSpan) -> float | None:
        """When the process ended that had not ended this span; None if it had. Pids are used again, hence the times."""
        if span.how:
            return None
        runs = [run for run in self.runs if run.pid == span.pid and run.started <= span.began + CLOCK_SECONDS]
        return max(runs, key=lambda run: run.started).ended if runs else None

    def ended_soon(self, name: str, when: float) -> bool:
        """Whether the process of this name that ran at a moment ended within SOON_SECONDS."""
        return any(run.name == name and run.started <= when <= run.ended <= when + SOON_SECONDS for run in self.runs)

    @cached_property
    def _of_generation(self) -> Mapping[str, Sequence[WorkSpan]]:
        found: dict[str, list[WorkSpan]] = {}
        for span in self.spans:
            found.setdefault(span.subject, []).append(span)
        return found
