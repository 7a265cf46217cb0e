"""Sends bad webhooks by the thousand, which must change no row, and good ones repeatedly, which must count once.

They are delivered by gRPC to generation's receiver alone, on a database of attempts whose answers were lost.

See docs/durable-core.md#callbacks.
"""

import argparse
import asyncio
import base64
import hashlib
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import grpc
import orjson
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from sqlalchemy import insert, select

from catalogue import CALLBACK_KINDS, MODELS
from services.chassis import logs
from services.chassis.database import Database, Transaction, open_database
from services.chassis.migrations import migrate
from services.chassis.notifier import Notifier
from services.chassis.server import Mount
from services.chassis.settings import CommonSettings
from services.chassis.supervisor import supervised
from services.generation.callbacks.late_results import LateResults
from services.generation.callbacks.processor import CallbackProcessor
from services.generation.callbacks.receiver import CallbackReceiver, digest_of
from services.generation.key_pool.pool import Key, account_of
from services.generation.model import Draft, State
from services.generation.outcomes import InProgress, Record
from services.generation.providers.callback_verification import KieCallbackVerifier, sign
from services.generation.servicer import GenerationServicer
from services.generation.stores import tables
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from services.generation.stores.leases import make_parking
from services.generation.timing import Timing
from services.generation.workers.poll import Poller
from tests.support.servers import serving
from tests.support.sql import execute, fetch_all

SECRET = "the webhook key of the flood"
KIND = "image-generated"
FAMILY = "gpt4o-image"
PRINT = "flood"
AT_ONCE = 32
FAR_MS = 10**15  # only a webhook makes these rows due
TIMES = 5
BATCH = 1000  # made just before they are sent, since a signature's time expires
SETTLE_SECONDS = 300.0
REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
)


@dataclass(frozen=True)
class Webhook:
    """A webhook as it arrives."""

    task_id: str
    token: str
    body: bytes
    headers: dict[str, str]
    kind: str = KIND

    def signed(self, stamp: str, key: str = SECRET) -> "Webhook":
        """The webhook with a signature for this time."""
        headers = {"x-webhook-timestamp": stamp, "x-webhook-signature": sign(key, self.task_id, stamp)}
        return replace(self, headers=headers)

    def with_body(self, document: Any) -> "Webhook":
        """The webhook with another body."""
        return replace(self, body=orjson.dumps(document))


def now(shift: int = 0) -> str:
    """The present time in seconds, plus `shift`."""
    return str(int(time.time()) + shift)


def good(number: int, code: int = 200) -> Webhook:
    """The valid webhook of an attempt."""
    task_id = f"task{number:06}"
    body = orjson.dumps({"code": code, "msg": "success", "data": {"taskId": task_id, "info": {"result_urls": []}}})
    return Webhook(task_id, f"att_flood{number:06}.{secret_of(number)}", body, {}).signed(now())


def secret_of(number: int) -> str:
    """The secret half of an attempt's token."""
    return hashlib.sha256(f"secret {number}".encode()).hexdigest()[:32]


def with_headers(webhook: Webhook, **headers: str | None) -> Webhook:
    """The webhook with headers changed, or removed where None."""
    changed = {**webhook.headers, **{f"x-webhook-{name}": value for name, value in headers.items()}}
    return replace(webhook, headers={name: value for name, value in changed.items() if value is not None})


def with_hex_signature(webhook: Webhook) -> Webhook:
    """The webhook with its signature in hex instead of base64."""
    return with_headers(webhook, signature=base64.b64decode(webhook.headers["x-webhook-signature"]).hex())


def with_timestamp(webhook: Webhook, stamp: str) -> Webhook:
    """The webhook with another time than the signed one."""
    return with_headers(webhook, timestamp=stamp)


BAD: Sequence[Callable[[Webhook], Webhook]] = (
    lambda webhook: replace(webhook, headers={}),
    lambda webhook: with_headers(webhook, signature=None),
    lambda webhook: with_headers(webhook, timestamp=None),
    lambda webhook: with_headers(webhook, signature=""),
    lambda webhook: with_headers(webhook, signature=webhook.headers["x-webhook-signature"][:-4]),
    with_hex_signature,
    lambda webhook: webhook.signed(now(), "another key"),
    lambda webhook: webhook.signed(now(), ""),
    lambda webhook: webhook.signed(now(-302)),
    lambda webhook: webhook.signed(now(+360)),
    lambda webhook: webhook.signed("-" + now()),
    lambda webhook: webhook.signed(now() + ".5"),
    lambda webhook: webhook.signed("9" * 40),
    lambda webhook: webhook.signed("soon"),
    lambda webhook: with_timestamp(webhook.signed(now(-900)), now()),
    lambda webhook: replace(webhook.signed(now()), body=good(random.randrange(900_000, 999_999)).body),
    lambda webhook: webhook.with_body({"code": 200, "taskId": "other", "data": {"taskId": webhook.task_id}}),
    lambda webhook: webhook.with_body({"code": 200, "data": {"taskId": webhook.task_id, "task_id": "other"}}),
    lambda webhook: webhook.with_body({"code": 200, "data": {"taskId": [webhook.task_id]}}),
    lambda webhook: webhook.with_body({"code": 200, "data": {"inner": {"taskId": webhook.task_id}}}),
    lambda webhook: webhook.with_body({"code": 200, "data": [{"taskId": webhook.task_id}]}),
    lambda webhook: webhook.with_body({"code": 200, "data": {"taskId": webhook.task_id * 1000}}),
    lambda webhook: webhook.with_body({"code": 200, "data": {"taskId": f"{webhook.task_id}.1"}}),
    lambda webhook: webhook.with_body([webhook.task_id]),
    lambda webhook: webhook.with_body({"code": 200}),
    lambda webhook: replace(webhook, body=b""),
    lambda webhook: replace(webhook, body=webhook.body[:-3]),
    lambda webhook: replace(webhook, body=b"[" * 20_000),
    lambda webhook: replace(webhook, body=b"<html>\xff</html>"),
    lambda webhook: replace(webhook, token="att_nobody.secret"),
    lambda webhook: replace(webhook, token=webhook.token[:-1]),
    lambda webhook: replace(webhook, token=webhook.token.partition(".")[0]),
    lambda webhook: replace(webhook, token="." + webhook.token),
    lambda webhook: replace(webhook, token="%00../"),
    lambda webhook: replace(webhook, kind="nobody"),
)


class StubProvider:
    """Keys, and records of a provider whose tasks are all in progress."""

    def configured(self, _account: str, _print: str = "") -> bool:
        """Every account has a key."""
        return True

    async def reader(self, account: str = "", _print: str = "") -> Key:
        """A key of the account."""
        return Key.of(account, PRINT)

    async def fetch(self, _task_id: str, _key: Key) -> Record:
        """The task is in progress."""
        return InProgress(1)

    async def recognise(self, _task_id: str, _draft: Draft, _key: Key) -> Record:
        """The record by which a task is adopted."""
        return InProgress(1)


@dataclass
class WebhookTarget:
    """Generation's receiver of webhooks behind a real gRPC server, and its database."""

    database: Database
    store: SqlGenerationStore
    inbox: SqlInbox
    notifier: Notifier
    receive: Callable[[generationpb.ReceiveCallbackRequest], Any]

    async def deliver(self, webhook: Webhook) -> grpc.StatusCode:
        """Deliver one webhook; the status of its answer."""
        request = generationpb.ReceiveCallbackRequest(
            kind=webhook.kind, token=webhook.token, body=webhook.body, headers=webhook.headers
        )
        try:
            await self.receive(request)
        except aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def deliver_all(self, webhooks: Sequence[Webhook]) -> Counter[grpc.StatusCode]:
        """Deliver webhooks, AT_ONCE at a time; how often each status was answered."""
        codes, waiting = Counter[grpc.StatusCode](), iter(webhooks)

        async def worker() -> None:
            for webhook in waiting:
                codes[await self.deliver(webhook)] += 1

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return codes

    async def fingerprint(self) -> str:
        """A hash of every row of every table."""
        return await self.database.read(fingerprint)

    async def count(self, table: Any, *clauses: Any) -> int:
        """How many rows of a table meet the conditions."""
        return len(await fetch_all(self.database, select(table).where(*clauses)))


def fingerprint(transaction: Transaction) -> str:
    """A hash of every row of every table."""
    digest = hashlib.sha256()
    for table in tables.metadata.sorted_tables:
        rows = transaction.execute(select(table).order_by(*table.primary_key.columns))
        digest.update(repr((table.name, rows.all())).encode())
    return digest.hexdigest()


@asynccontextmanager
async def webhook_target(folder: Path, attempts: int, database_url: str = "") -> AsyncIterator[WebhookTarget]:
    """Serve the receiver over a database with this many attempts whose answers were lost."""
    settings = CommonSettings(data_dir=folder, database_url=database_url, _env_file=None)
    await asyncio.to_thread(migrate, "generation", settings)
    notifier = Notifier()
    async with open_database(settings, "generation", notifier) as database:
        await insert_attempts(database, attempts)
        store = SqlGenerationStore()
        inbox = SqlInbox()
        receiver = CallbackReceiver(database, store, inbox, KieCallbackVerifier((SECRET,)), CALLBACK_KINDS.values())
        nothing = cast("Any", None)
        servicer = GenerationServicer(nothing, receiver, nothing, nothing)
        mount = Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR)
        async with serving(mount) as address, aio.insecure_channel(address) as channel:
            yield WebhookTarget(
                database, store, inbox, notifier, generationrpc.GenerationServiceStub(channel).ReceiveCallback
            )


async def insert_attempts(database: Database, attempts: int) -> None:
    """Write generations that wait for the webhook of their attempt."""
    numbers = range(attempts)
    draft = orjson.dumps({"model": FAMILY, "prompt": "a flood", "image_uris": []}).decode()
    common = {"model": FAMILY, "family": FAMILY, "draft": draft, "request_hash": "", "state": State.AMBIGUOUS}
    times = {"due_ms": FAR_MS, "create_ms": 1, "update_ms": 1, "ready_ms": 1}
    names = [f"gen_flood{number:06}" for number in numbers]
    orders = [{"id": name, "attempt_id": name.replace("gen", "att"), **common, **times} for name in names]
    attempts_ = [
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
    await execute(database, insert(tables.generation), orders)
    await execute(database, insert(tables.attempt), attempts_)


async def flood(target: WebhookTarget, seed: str, bad: int, good_count: int) -> list[tuple[str, object]]:
    """Deliver bad webhooks, then good ones; the table of what changed."""
    rng, before, began = random.Random(seed), await target.fingerprint(), time.monotonic()
    refused = await deliver_bad(target, rng, bad, good_count)
    rate = bad / (time.monotonic() - began)
    unchanged = before == await target.fingerprint()
    answered = await deliver_good(target, rng, good_count)
    return [
        ("seed", seed),
        ("bad webhooks", bad),
        ("  refused", sum(refused[code] for code in REFUSALS)),
        ("  by code", {code.name: count for code, count in sorted(refused.items(), key=str)}),
        ("  a second", round(rate)),
        ("  every row as before", unchanged),
        ("good webhooks", f"{good_count} x {TIMES}"),
        ("  answered OK", answered[grpc.StatusCode.OK]),
        ("  rows in the inbox", await target.count(tables.inbox)),
        ("  read to the end", await target.count(tables.inbox, tables.inbox.c.verdict == "done")),
        ("  tasks adopted", await target.count(tables.attempt, tables.attempt.c.task_id.is_not(None))),
        ("  effects", await target.count(tables.outbox)),
    ]


async def deliver_bad(target: WebhookTarget, rng: random.Random, bad: int, good_count: int) -> Counter[grpc.StatusCode]:
    """Deliver each kind of bad webhook in turn, made from good ones of random attempts."""
    codes = Counter[grpc.StatusCode]()
    for start in range(0, bad, BATCH):
        numbers = range(start, min(start + BATCH, bad))
        codes += await target.deliver_all(
            [BAD[number % len(BAD)](good(rng.randrange(good_count))) for number in numbers]
        )
    return codes


async def deliver_good(target: WebhookTarget, rng: random.Random, good_count: int) -> Counter[grpc.StatusCode]:
    """Deliver each good webhook several times, in random order, while the processor works."""
    numbers, codes = [number for number in range(good_count) for _ in range(TIMES)], Counter[grpc.StatusCode]()
    rng.shuffle(numbers)
    stub = cast("Any", StubProvider())
    poller = Poller(target.database, target.store, stub, {FAMILY: stub}, MODELS, timing=Timing())
    late_results = LateResults(target.database, target.store, cast("Any", None), Timing())
    processor = CallbackProcessor(
        target.database,
        target.store,
        target.inbox,
        target.notifier,
        poller,
        late_results=late_results,
        parking=make_parking(target.database),
    )
    async with supervised([processor.run]):
        for start in range(0, len(numbers), BATCH):
            codes += await target.deliver_all([good(number) for number in numbers[start : start + BATCH]])
        await until_inbox_is_read(target, good_count)
    return codes


async def until_inbox_is_read(target: WebhookTarget, good_count: int) -> None:
    """Wait until every webhook in the inbox is processed."""
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        if await target.count(tables.inbox, tables.inbox.c.verdict != "") == good_count:
            return
        await asyncio.sleep(0.1)


async def run(folder: Path, seed: str, bad: int, good_count: int) -> dict[str, object]:
    """Run the program; its table."""
    logs.configure("error", "json", "flood")
    async with webhook_target(folder, good_count) as target:
        return dict(await flood(target, seed, bad, good_count))


def as_promised(table: dict[str, object], bad: int, good_count: int) -> bool:
    """Whether a table shows that every promise was kept."""
    counted = [table[name] for name in ("  rows in the inbox", "  read to the end", "  tasks adopted", "  effects")]
    whole = table["  answered OK"] == good_count * TIMES and counted == [good_count] * len(counted)
    return whole and table["  refused"] == bad and bool(table["  every row as before"])


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bad", type=int, default=100_000)
    parser.add_argument("--good", type=int, default=10_000)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kawaii-flood-") as folder:
        table = asyncio.run(run(Path(folder), arguments.seed, arguments.bad, arguments.good))
    width = max(map(len, table))
    sys.stdout.write("\n".join(f"{name:<{width}}  {value}" for name, value in table.items()) + "\n")
    return not as_promised(table, arguments.bad, arguments.good)


if __name__ == "__main__":
    raise SystemExit(main())
