"""What ends a storm: whatever the provider made and nobody heard of is brought in, by late callbacks and by operators.

UNKNOWN is no end while the provider has a bill for it. The ledger stands in for the page of KIE's own logs from which
an operator reads task ids.
"""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from grpc import StatusCode, aio
from kawaii.generation.v1 import admin_pb2 as adminpb
from kawaii.generation.v1 import admin_pb2_grpc as adminrpc

from services.generation.model import State
from services.generation.stores.tables import attempt, generation
from tests.chaos.book import Book
from tests.chaos.checker import FAILING, Checker
from tests.chaos.facts import AGENT, Bill, Facts, bills_of, gather_facts, rows_of
from tests.chaos.stack import ChaosStack
from tests.chaos.verdict import Report, Rows
from tests.chaos.witness import Witness

CALL_SECONDS = 30.0
ADOPT_TRIES = 5  # more than the reads that any script of the storm spoils
ADOPT_PAUSE_SECONDS = 0.2


async def bring_in(stack: ChaosStack) -> dict[str, int]:
    """Have every bill of an attempt that knows no task brought in, half by callback, half by `AdoptTask`."""
    generations, attempts = await rows_of(stack, "generation", generation, attempt)
    unknown = {row.id for row in generations if row.state == State.UNKNOWN}
    asked = {row.id for row in attempts if row.generation_id in unknown and not row.task_id}
    missing = [bill for bill in await bills_of(stack) if bill.attempt_id in asked]
    late, by_hand = missing[::2], missing[1::2]
    for bill in late:
        await call_back(stack, bill)
    for bill in by_hand:
        await adopt(stack.generation, bill)
    return {"callbacks": len(late), "adopted": len(by_hand)}


async def call_back(stack: ChaosStack, bill: Bill) -> None:
    """Let the provider's callback come after all."""
    async with httpx.AsyncClient(base_url=stack.sandbox, timeout=CALL_SECONDS, headers=AGENT, trust_env=False) as http:
        (await http.post(f"/sandbox/tasks/{bill.task_id}/callback", json={})).raise_for_status()


async def adopt(generation: str, bill: Bill) -> None:
    """Do what an operator does with `kawaii tasks adopt`, who is told to try again while the record cannot be read.

    Some scripts spoil the first reads of a record. Any other refusal leaves the bill for the check that follows.
    """
    async with aio.insecure_channel(generation) as channel:
        stub: adminrpc.GenerationAdminServiceAsyncStub = adminrpc.GenerationAdminServiceStub(channel)
        request = adminpb.AdoptTaskRequest(attempt=bill.attempt_id, task=bill.task_id)
        for _ in range(ADOPT_TRIES):
            try:
                await stub.AdoptTask(request, timeout=CALL_SECONDS)
            except aio.AioRpcError as refusal:
                if refusal.code() is not StatusCode.UNAVAILABLE:
                    return
            else:
                return
            await asyncio.sleep(ADOPT_PAUSE_SECONDS)


async def reconciled(stack: ChaosStack, book: Book, drain: Callable[[ChaosStack], Awaitable[float | None]]) -> Report:
    """Bring in what is missing, wait until nothing moves any more, and look at everything again."""
    brought = await bring_in(stack)
    settled = await drain(stack)
    facts = await gather_facts(stack)
    checker = Checker(facts, Witness.of(stack, book))
    rows: Rows = [
        ("reconciliation, s", round(settled) if settled is not None else "not settled"),
        ("  by late callbacks, by hand", (brought["callbacks"], brought["adopted"])),
        ("  UNKNOWN after that, never billed", len(checker.in_state(State.UNKNOWN))),
    ]
    return Report(rows, {"billed and not brought in": not_brought_in(facts, checker)})


def not_brought_in(facts: Facts, checker: Checker) -> list[str]:
    """After the reconciliation: UNKNOWN although the provider has a bill, or ended otherwise than the bill says."""
    broken = []
    owners = {row.id: row.generation_id for row in facts.attempts}
    for bill in facts.bills:
        row = facts.generations.get(owners.get(bill.attempt_id, ""))
        if row is None or row.attempt_id != bill.attempt_id or row.state == State.CANCELED:
            continue
        wanted = State.SUCCEEDED if FAILING.isdisjoint(bill.script.split(",")) else State.FAILED
        if row.state != wanted:
            broken.append(f"{row.id} is {row.state}, the provider's task {bill.task_id} of it is {bill.state}")
    return broken + list(checker.inexact()) + list(checker.out_of_step()) + list(checker.duplicates())
