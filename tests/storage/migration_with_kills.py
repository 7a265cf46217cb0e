"""A move from disk to a bucket whose process is killed again and again, while somebody reads every link.

The tests run a short one; `python -m tests.storage.migration_with_kills --objects 2000 --kills 5` a long one.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from grpc import aio
from kawaii.storage.v1 import admin_pb2 as storageadminpb
from kawaii.storage.v1 import admin_pb2_grpc as storageadminrpc

from deploy.launcher.console import say
from services.chassis.addresses import ListenPort, port_of
from services.chassis.database import open_database
from services.chassis.migrations import migrate
from services.storage.backends.local import LocalFiles
from services.storage.model import StoredObject
from services.storage.settings import StorageSettings
from services.storage.stores.sql import SqlObjects
from tests.storage.buckets import in_bucket
from tests.storage.processes import running
from tests.storage.samples import picture
from tests.support.ports import free_base, listening
from tests.support.postgres import postgres
from tests.support.s3 import S3Server, s3

SEEDS = 97  # different pictures; the keys take turns
SIZE = 3000
READERS = 2
Step = storageadminpb.MigrateObjectsRequest
Progress = storageadminpb.HousekeepingProgress


@dataclass
class Outcome:
    """What a move came to."""

    runs: list[Progress] = field(default_factory=list)
    removed: Progress = field(default_factory=Progress)
    verified: Progress = field(default_factory=Progress)
    reads: int = 0
    broken: list[str] = field(default_factory=list)


def body_of(key: str) -> bytes:
    """The picture of a key."""
    return picture(seed=str(int(key.partition("/")[2].partition(".")[0]) % SEEDS), size=SIZE)


async def fill(stack: StorageSettings, objects: int) -> list[str]:
    """Rows and files, as uploads leave them."""
    keys = [f"uploads/{number:06}.png" for number in range(objects)]
    local = LocalFiles(stack.objects_dir)
    async with open_database(stack, "storage") as database:
        store = SqlObjects()
        for key in keys:
            async with local.spool() as spool:
                await spool.write(body_of(key))
                await local.put(key, spool)
                await database.write(store.add, StoredObject(key, "image/png", spool.size, spool.sha256, "upload"))
    return keys


@asynccontextmanager
async def admin_stub(stack: StorageSettings) -> AsyncIterator["storageadminrpc.StorageAdminServiceAsyncStub"]:
    """The operators' side of a process."""
    async with aio.insecure_channel(stack.address(ListenPort.STORAGE)) as channel:
        yield storageadminrpc.StorageAdminServiceStub(channel)


async def read_on(stack: StorageSettings, keys: list[str], outcome: Outcome, stopped: asyncio.Event) -> None:
    """Read one link after the other, at random, until stopped."""
    async with httpx.AsyncClient(base_url=f"http://{stack.address(ListenPort.FILES)}", trust_env=False) as client:
        while not stopped.is_set():
            key = random.choice(keys)
            answer = await client.get(f"/files/{key}")
            outcome.reads += 1
            if answer.status_code != httpx.codes.OK or answer.content != body_of(key):
                outcome.broken.append(f"{key}: {answer.status_code}")


async def last(stream: AsyncIterator[Progress]) -> Progress:
    """The last progress of a scan."""
    progress = Progress()
    async for news in stream:
        progress = news
    return progress


async def cut_short(stack: StorageSettings, copies: int, **more: str) -> Progress:
    """Begin to copy, and kill the process once so many are copied."""
    progress = Progress()
    async with running(stack, **more) as process, admin_stub(stack) as admin:
        try:
            async for news in admin.MigrateObjects(Step(target_mode="s3", step=Step.STEP_COPY)):
                progress = news
                if progress.changed_count >= copies and process.returncode is None:
                    process.kill()
                    await process.wait()
        except aio.AioRpcError:
            return progress
    raise AssertionError("the move was over before it could be killed")


async def move(stack: StorageSettings, objects: int, kills: int, database_url: str) -> Outcome:
    """Move a stack's objects; one process works and is killed, a replica serves."""
    outcome, stopped = Outcome(), asyncio.Event()
    stack = stack.model_copy(update={"database_url": database_url, "internal_port_base": free_base()})
    replica = stack.model_copy(update={"internal_port_base": free_base()})
    await asyncio.to_thread(migrate, "storage", stack)
    keys = await fill(stack, objects)
    more = {"DATABASE_URL": database_url, "STORAGE_DIR": str(stack.objects_dir)}
    async with running(replica, **more), asyncio.TaskGroup() as readers:
        await listening(port_of(ListenPort.FILES, replica.internal_port_base))
        for _ in range(READERS):
            readers.create_task(read_on(replica, keys, outcome, stopped))
        for _ in range(kills):
            outcome.runs.append(await cut_short(stack, objects // (kills + 1), **more))
        async with running(stack, **more), admin_stub(stack) as admin:
            outcome.runs.append(await last(admin.MigrateObjects(Step(target_mode="s3", step=Step.STEP_COPY))))
            outcome.removed = await last(admin.MigrateObjects(Step(target_mode="s3", step=Step.STEP_DELETE_SOURCE)))
            outcome.verified = await last(admin.VerifyObjects(storageadminpb.VerifyObjectsRequest(read_bytes=True)))
        stopped.set()
    outcome.broken += await left_behind(stack, keys)
    return outcome


async def left_behind(stack: StorageSettings, keys: Iterable[str]) -> list[str]:
    """Which keys the bucket alone does not answer for, and which files are still on disk."""
    alone = stack.model_copy(update={"storage_second_mode": "", "internal_port_base": free_base()})
    client = httpx.AsyncClient(base_url=f"http://{alone.address(ListenPort.FILES)}", trust_env=False)
    async with running(alone, DATABASE_URL=stack.database_url), client:
        await listening(port_of(ListenPort.FILES, alone.internal_port_base))
        answers = [(key, await client.get(f"/files/{key}")) for key in keys]
    torn = [f"{key}: not in the bucket" for key, answer in answers if answer.content != body_of(key)]
    return torn + [f"{path}: on disk" for path in stack.objects_dir.glob("uploads/*")]


def with_two_backends(folder: Path, server: S3Server) -> StorageSettings:
    """A stack whose first backend is a new bucket, and whose second is a folder."""
    return in_bucket(StorageSettings(data_dir=folder, _env_file=None), server, storage_second_mode="local")


def main() -> None:
    """Run it as asked, and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=5)
    asked = parser.parse_args()
    began = time.monotonic()
    with s3() as bucket, postgres() as server, tempfile.TemporaryDirectory(prefix="kawaii-move-") as folder:
        stack = with_two_backends(Path(folder), bucket)
        outcome = asyncio.run(move(stack, asked.objects, asked.kills, server.create_database()))
    copied = " + ".join(str(run.changed_count) for run in outcome.runs)
    say(f"copied {copied} of {asked.objects} to {bucket.kind}, killed {asked.kills} times")
    say(f"removed from disk {outcome.removed.changed_count}, verified {outcome.verified.done_count}")
    say(f"problems {outcome.verified.problem_count}, links read {outcome.reads}, broken {len(outcome.broken)}")
    say(f"{time.monotonic() - began:.0f} s")
    raise SystemExit(bool(outcome.broken or outcome.verified.problem_count))


if __name__ == "__main__":
    main()
