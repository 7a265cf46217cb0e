"""The report of a run: a table of faults, orders and their ends, and the promises that were broken."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.generation.model import State
from tests.chaos.checker import Checker
from tests.chaos.event_consumer import EventConsumer
from tests.chaos.evidence import Facts, Observations, gather_facts
from tests.chaos.failpoints import SERVICE_OF
from tests.chaos.order_clients import ClientLog, FollowUp
from tests.chaos.process_logs import FENCE_LOST
from tests.chaos.random_faults import OFTEN
from tests.chaos.stack import ChaosStack

SHOWN = 10  # broken promises of a kind that are printed in full
Rows = list[tuple[str, object]]


@dataclass(frozen=True)
class Report:
    """The rows of a table, and by promise a sentence for each time that it was broken."""

    rows: Sequence[tuple[str, object]]
    broken: dict[str, list[str]]

    def __str__(self) -> str:
        """The table with the number of breaches by promise, then their sentences."""
        lines = [*self.rows, *((what, len(found)) for what, found in self.broken.items())]
        width = max(len(name) for name, _ in lines)
        details = [f"{what}: {sentence}" for what, found in self.broken.items() for sentence in found[:SHOWN]]
        return "\n".join([*(f"{name:<{width}}  {value}" for name, value in lines), *details])


async def check(stack: ChaosStack, log: ClientLog, consumer: EventConsumer) -> Report:
    """Check a stack that has settled."""
    facts = await gather_facts(stack)
    checker = Checker(facts, Observations.of(stack, log))
    missed = {row.sequence for row in facts.events} - set(consumer.seen)
    rows = [
        *order_rows(log),
        *fault_rows(stack),
        *end_rows(facts, checker),
        *follow_up_rows(facts, checker, log, consumer),
    ]
    return Report(
        rows, checker.broken() | {"events missed": sorted(map(str, missed)), "work that crashed": stack.logs.crashes()}
    )


def order_rows(log: ClientLog) -> Rows:
    """How many orders were sent, accepted and refused."""
    return [
        ("orders offered", len(log.orders)),
        ("accepted", len(log.accepted)),
        ("refused for good", len(log.refused)),
    ]


def fault_rows(stack: ChaosStack) -> Rows:
    """Which faults were injected."""
    hits = stack.logs.counted("kill")
    often = sum(count >= OFTEN for count in hits.values())
    rarest = min(SERVICE_OF, key=lambda point: hits[point])
    return [
        ("SIGKILLs", stack.ends),
        ("  by process", ", ".join(f"{name} {process.ends}" for name, process in stack.processes.items())),
        ("  at failpoints", sum(hits.values())),
        ("  distinct failpoints", f"{len(hits)} of {len(SERVICE_OF)}, {often} of them ten times or more"),
        ("  rarest", f"{rarest} {hits[rarest]}"),
        ("SIGSTOPs of three leases", sum(process.freezes for process in stack.processes.values())),
        ("  writes that a fence refused", len(stack.logs.events(FENCE_LOST))),
        ("errors, sleeps, hangs", tuple(stack.logs.counted(action).total() for action in ("error", "sleep", "hang"))),
        ("toxic connections", sum(bool(call.toxic) for call in stack.proxy.calls)),
    ]


def end_rows(facts: Facts, checker: Checker) -> Rows:
    """How the orders ended."""
    billed, unknown = {bill.attempt_id for bill in facts.bills}, checker.in_state(State.UNKNOWN)
    canceled = checker.in_state(State.CANCELED)
    return [
        ("bills", len(facts.bills)),
        ("SUCCEEDED", len(checker.in_state(State.SUCCEEDED))),
        ("FAILED as the provider says", len(checker.in_state(State.FAILED))),
        ("CANCELED as their owners say", len(canceled)),
        ("  before they were sent", sum(map(checker.canceled_unsent, canceled))),
        ("  files left for garbage collection", len(checker.left_for_collection())),
        ("UNKNOWN", len(unknown)),
        ("  predicted", len(checker.predicted())),
        ("  answer lost with its process", len(checker.lost_with_process())),
        ("  of them billed", sum(row.attempt_id in billed for row in unknown)),
    ]


def follow_up_rows(facts: Facts, checker: Checker, log: ClientLog, consumer: EventConsumer) -> Rows:
    """Follow-ups, and events."""
    follow_ups = [order.follow_up for order in log.orders.values()]
    succeeded = {row.id for row in checker.in_state(State.SUCCEEDED)}
    return [
        (
            "cancels wanted, confirmed",
            (sum(map(follow_ups.count, (FollowUp.CANCEL_EARLY, FollowUp.CANCEL_LATE))), sum(log.cancels.values())),
        ),
        ("retries of failed, SUCCEEDED since", (len(log.retries), len(log.retries & succeeded))),
        ("pictures shared, shares kept", (len(log.shares), len(facts.shares))),
        ("events consumed", f"{len(consumer.seen)}, repeated {len(consumer.seen) - len(set(consumer.seen))}"),
    ]
