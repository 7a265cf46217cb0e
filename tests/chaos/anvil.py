"""What the hammer strikes: the service's own way in for webhooks, over a real socket, with nothing else running."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import orjson
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from sqlalchemy import insert, select

from services.chassis.database import Database, open_database
from services.chassis.health import Health
from services.chassis.migrations import migrate
from services.chassis.notifier import Notifier
from services.chassis.server import Mount, build
from services.chassis.settings import CommonSettings
from services.generation.callbacks.receiver import CallbackReceiver, digest_of
from services.generation.key_pool.pool import Key, account_of
from services.generation.model import Draft, State
from services.generation.outcomes import InProgress, Record
from services.generation.providers import CALLBACK_KINDS
from services.generation.providers.callback_verification import KieCallbackVerifier
from services.generation.servicer import GenerationServicer
from services.generation.stores import tables
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from tests.chaos.hooks import SECRET, Hook, secret_of

FAMILY = "gpt4o-image"
PRINT = "hammer"
AT_ONCE = 32
FAR = 10**15  # nothing but a webhook makes these rows due


class Pen:
    """Keys and records of a provider that says that it is still drawing."""

    def configured(self, _account: str, _print: str = "") -> bool:
        """Every account has a key."""
        return True

    async def reader(self, account: str = "", _print: str = "") -> Key:
        """Any key will do."""
        return Key.of(account, PRINT)

    async def fetch(self, _task_id: str, _key: Key) -> Record:
        """The task is being drawn."""
        return InProgress(1)

    async def recognise(self, _task_id: str, _draft: Draft, _key: Key) -> Record:
        """The record that lets a task be adopted."""
        return InProgress(1)


@dataclass
class Anvil:
    """The service's own way in for webhooks, over a real socket, with nothing else running."""

    database: Database
    store: SqlGenerationStore
    inbox: SqlInbox
    notifier: Notifier
    receive: Callable[[generationpb.ReceiveCallbackRequest], Any]

    async def strike(self, hook: Hook) -> grpc.StatusCode:
        """Deliver one webhook."""
        request = generationpb.ReceiveCallbackRequest(
            kind=hook.kind, token=hook.token, body=hook.body, headers=hook.headers
        )
        try:
            await self.receive(request)
        except aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def strike_all(self, hooks: Sequence[Hook]) -> Counter[grpc.StatusCode]:
        """Deliver many, some at once."""
        codes, waiting = Counter[grpc.StatusCode](), iter(hooks)

        async def worker() -> None:
            for hook in waiting:
                codes[await self.strike(hook)] += 1

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return codes

    async def fingerprint(self) -> str:
        """A hash of every row of every table."""
        digest = hashlib.sha256()
        async with self.database.read() as connection:
            for table in tables.metadata.sorted_tables:
                rows = await connection.execute(select(table).order_by(*table.primary_key.columns))
                digest.update(repr((table.name, rows.all())).encode())
        return digest.hexdigest()

    async def count(self, table: Any, *clauses: Any) -> int:
        """Rows of a table."""
        async with self.database.read() as connection:
            return len((await connection.execute(select(table).where(*clauses))).all())


@asynccontextmanager
async def forged(folder: Path, attempts: int, database_url: str = "") -> AsyncIterator[Anvil]:
    """An anvil with so many attempts whose answers were lost."""
    settings = CommonSettings(data_dir=folder, database_url=database_url, _env_file=None)
    await asyncio.to_thread(migrate, "generation", settings)
    async with open_database(settings, "generation") as database:
        await sow(database, attempts)
        notifier = Notifier()
        store = SqlGenerationStore(database, notifier)
        inbox = SqlInbox(database, notifier)
        receiver = CallbackReceiver(store, inbox, KieCallbackVerifier((SECRET,)), CALLBACK_KINDS.values())
        nothing = cast("Any", None)
        servicer = GenerationServicer(nothing, receiver, nothing, nothing)
        mount = Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR)
        server = build([mount], Health(mount.names, []))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Anvil(database, store, inbox, notifier, generationrpc.GenerationServiceStub(channel).ReceiveCallback)
        await server.stop(None)


async def sow(database: Database, attempts: int) -> None:
    """Write orders whose answers were lost, each waiting for its webhook."""
    numbers = range(attempts)
    draft = orjson.dumps({"model": FAMILY, "prompt": "a nail", "image_uris": []}).decode()
    common = {"model": FAMILY, "family": FAMILY, "draft": draft, "request_hash": "", "state": State.AMBIGUOUS}
    times = {"due_ms": FAR, "create_ms": 1, "update_ms": 1, "ready_ms": 1}
    names = [f"gen_hammer{number:06}" for number in numbers]
    orders = [{"id": name, "attempt_id": name.replace("gen", "att"), **common, **times} for name in names]
    tried = [
        {
            "id": name.replace("gen", "att"),
            "generation_id": name,
            "account": account_of(PRINT),  # a name as keys have it; a start renames positional ones
            "key_print": PRINT,
            "token_digest": digest_of(secret_of(number)),
            "create_ms": 1,
        }
        for number, name in zip(numbers, names, strict=True)
    ]
    async with database.write() as connection:
        await connection.execute(insert(tables.generation), orders)
        await connection.execute(insert(tables.attempt), tried)
