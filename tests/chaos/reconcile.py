"""Reconciliation at the end of a run: what was billed and is UNKNOWN is recovered, by late callbacks or `AdoptTask`.

The ledger takes the place of the page of KIE's own logs, from which an operator reads task ids.
"""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from grpc import StatusCode, aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc

from services.generation.model import State
from services.generation.stores.tables import attempt, generation
from tests.chaos.checker import FAILING, Checker
from tests.chaos.evidence import AGENT, Bill, Facts, Observations, bills_of, gather_facts, rows_of
from tests.chaos.order_clients import ClientLog
from tests.chaos.report import Report, Rows
from tests.chaos.stack import ChaosStack

CALL_SECONDS = 30.0
ADOPT_TRIES = 5  # more than the reads that any script answers with an error
ADOPT_PAUSE_SECONDS = 0.2


async def recover_missing(stack: ChaosStack) -> dict[str, int]:
    """Recover each billed attempt that knows no task, half of them by callback, half by `AdoptTask`."""
    generations, attempts = await rows_of(stack, "generation", generation, attempt)
    unknown = {row.id for row in generations if row.state == State.UNKNOWN}
    unanswered = {row.id for row in attempts if row.generation_id in unknown and not row.task_id}
    missing = [bill for bill in await bills_of(stack) if bill.attempt_id in unanswered]
    late, by_hand = missing[::2], missing[1::2]
    for bill in late:
        await call_back(stack, bill)
    for bill in by_hand:
        await adopt(stack.generation, bill)
    return {"callbacks": len(late), "adopted": len(by_hand)}


async def call_back(stack: ChaosStack, bill: Bill) -> None:
    """Make the provider send the callback of a task."""
    async with httpx.AsyncClient(base_url=stack.sandbox, timeout=CALL_SECONDS, headers=AGENT, trust_env=False) as http:
        (await http.post(f"/sandbox/tasks/{bill.task_id}/callback", json={})).raise_for_status()


async def adopt(generation: str, bill: Bill) -> None:
    """Adopt a task as `kawaii tasks adopt` does, again while the record cannot be read (UNAVAILABLE).

    Some scripts answer the first reads of a record with errors. After any other refusal the check that follows fails.
    """
    async with aio.insecure_channel(generation) as channel:
        stub: generationadminrpc.GenerationAdminServiceAsyncStub = generationadminrpc.GenerationAdminServiceStub(
            channel
        )
        request = generationadminpb.AdoptTaskRequest(attempt=bill.attempt_id, task=bill.task_id)
        for _ in range(ADOPT_TRIES):
            try:
                await stub.AdoptTask(request, timeout=CALL_SECONDS)
            except aio.AioRpcError as refusal:
                if refusal.code() is not StatusCode.UNAVAILABLE:
                    return
            else:
                return
            await asyncio.sleep(ADOPT_PAUSE_SECONDS)


async def reconciled(
    stack: ChaosStack, log: ClientLog, drain: Callable[[ChaosStack], Awaitable[float | None]]
) -> Report:
    """Recover what is missing, wait until the stack has settled, and check everything again."""
    recovered = await recover_missing(stack)
    drained = await drain(stack)
    facts = await gather_facts(stack)
    checker = Checker(facts, Observations.of(stack, log))
    rows: Rows = [
        ("reconciliation, s", round(drained) if drained is not None else "not settled"),
        ("  by late callbacks, by hand", (recovered["callbacks"], recovered["adopted"])),
        ("  UNKNOWN after that, never billed", len(checker.in_state(State.UNKNOWN))),
    ]
    return Report(rows, {"billed and not recovered": not_recovered(facts, checker)})


def not_recovered(facts: Facts, checker: Checker) -> list[str]:
    """Generations that are billed and still UNKNOWN, or ended otherwise than their script says; and broken objects."""
    broken = []
    owners = {row.id: row.generation_id for row in facts.attempts}
    for bill in facts.bills:
        row = facts.generations.get(owners.get(bill.attempt_id, ""))
        if row is None or row.attempt_id != bill.attempt_id or row.state == State.CANCELED:
            continue
        wanted = State.SUCCEEDED if FAILING.isdisjoint(bill.script.split(",")) else State.FAILED
        if row.state != wanted:
            broken.append(f"{row.id} is {row.state}, its task {bill.task_id} is {bill.state}")
    return broken + list(checker.inexact()) + list(checker.out_of_step()) + list(checker.duplicates())
