"""What the provider, the databases and the disk say, read side by side after a storm."""

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
from services.storage.stores.sql import OBJECTS
from tests.chaos.stack import ChaosStack

READS_AT_ONCE = 16
READ_TRIES = 5
TOKEN = re.compile(r"/(att_[0-9a-z]+)\.")
AGENT = {"user-agent": "chaos", "authorization": "Bearer sandbox-a"}
Rows = Sequence[Row[Any]]
DELIVERED = 200


@dataclass(frozen=True)
class Bill:
    """One entry of the provider's ledger: the attempt that its callback names, and what became of its callbacks."""

    task_id: str
    attempt_id: str
    script: str
    state: str
    planned: int
    tries: tuple[int, ...]
    sha256: tuple[str, ...] = ()

    @property
    def heard(self) -> bool:
        """Whether we took a callback of it."""
        return DELIVERED in self.tries


class Moment(NamedTuple):
    """What an event says: since when, in seconds since 1970, a generation was in a state, and under which attempt."""

    when: float
    state: State
    attempt_id: str


@dataclass(frozen=True)
class Facts:
    """Everything the checker needs to judge."""

    generations: Mapping[str, Row[Any]]
    attempts: Rows
    outputs: Rows
    inbox: Rows
    events: Rows
    objects: Rows
    files: Mapping[str, str]
    bills: Sequence[Bill]
    shares: Rows = ()

    @cached_property
    def histories(self) -> Mapping[str, Sequence[Moment]]:
        """What every generation went through, in order."""
        found: defaultdict[str, list[Moment]] = defaultdict(list)
        for row in sorted(self.events, key=lambda row: row.sequence):
            told = json.loads(row.snapshot)
            found[row.generation_id].append(Moment(row.create_ms / 1000, State(told["state"]), told["attempt_id"]))
        return found


async def rows_of(stack: ChaosStack, service: str, *wanted: Table) -> list[Rows]:
    """All rows of some tables of a service; a database that answers too late, on a busy machine, is asked again."""
    for _ in range(READ_TRIES - 1):
        with suppress(OSError, Unavailable):
            return await _rows_of(stack, service, *wanted)
        await asyncio.sleep(1.0)
    return await _rows_of(stack, service, *wanted)


async def _rows_of(stack: ChaosStack, service: str, *wanted: Table) -> list[Rows]:
    async with open_database(stack.settings, service) as database, database.read() as connection:
        return [(await connection.execute(select(table))).all() for table in wanted]


async def gather_facts(stack: ChaosStack) -> Facts:
    """Read everything."""
    names = (tables.generation, tables.attempt, tables.output, tables.inbox, tables.outbox)
    generations, attempts, outputs, inbox, events = await rows_of(stack, "generation", *names)
    (objects,) = await rows_of(stack, "storage", OBJECTS)
    (shares,) = await rows_of(stack, "share", share)
    files = await asyncio.to_thread(files_of, stack.data / "objects" / "generated")
    by_id = {row.id: row for row in generations}
    bills = await bills_of(stack, pictures=True)
    return Facts(by_id, attempts, outputs, inbox, events, objects, files, bills, shares)


def files_of(folder: Path) -> dict[str, str]:
    """The hash of each file, by its object key."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {
        f"generated/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)
    }


async def bills_of(stack: ChaosStack, *, pictures: bool = False) -> list[Bill]:
    """The ledger, with each task's callbacks and, if wanted, the hashes of its pictures."""
    room = asyncio.Semaphore(READS_AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.sandbox, timeout=30, headers=AGENT, trust_env=False) as http:
        entries = (await http.get("/sandbox/ledger")).raise_for_status().json()["entries"]

        async def read(entry: dict[str, Any]) -> Bill:
            async with room:
                task = (await http.get(f"/sandbox/tasks/{entry['task_id']}")).raise_for_status().json()
                bill = bill_of(task)
                return replace(bill, sha256=await drawn(http, task)) if pictures else bill

        return await asyncio.gather(*map(read, entries))


def bill_of(task: Mapping[str, Any]) -> Bill:
    """A task of the provider."""
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
    """The hashes of a task's pictures, read by direct links, which no script spoils."""
    hashes = []
    for result in task["results"]:
        if result["kind"] == "result":
            url = f"{str(http.base_url).rstrip('/')}/{result['path']}"
            link = (await http.post("/api/v1/common/download-url", json={"url": url})).json()["data"]
            picture = (await http.get(link)).raise_for_status()
            hashes.append(hashlib.sha256(picture.content).hexdigest())
    return tuple(hashes)
