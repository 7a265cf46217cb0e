"""The table at the end of a storm: what it did to the stack, what became of the orders, and what it broke."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.generation.model import State
from tests.chaos.book import Book, Errand
from tests.chaos.checker import Checker
from tests.chaos.diary import REFUSED
from tests.chaos.facts import Facts, gather_facts
from tests.chaos.follower import Follower
from tests.chaos.points import SERVICE_OF
from tests.chaos.stack import ChaosStack
from tests.chaos.weather import OFTEN
from tests.chaos.witness import Witness

SHOWN = 10  # broken promises of a kind that are told in full
Rows = list[tuple[str, object]]


@dataclass(frozen=True)
class Report:
    """What a storm did, and what it broke."""

    rows: Sequence[tuple[str, object]]
    broken: dict[str, list[str]]

    def __str__(self) -> str:
        """One table, then what was broken."""
        lines = [*self.rows, *((what, len(found)) for what, found in self.broken.items())]
        width = max(len(name) for name, _ in lines)
        details = [f"{what}: {sentence}" for what, found in self.broken.items() for sentence in found[:SHOWN]]
        return "\n".join([*(f"{name:<{width}}  {value}" for name, value in lines), *details])


async def judge(stack: ChaosStack, book: Book, follower: Follower) -> Report:
    """Read everything and check it."""
    facts = await gather_facts(stack)
    checker = Checker(facts, Witness.of(stack, book))
    missed = {row.sequence for row in facts.events} - set(follower.seen)
    rows = [*orders(book), *blows(stack), *ends(facts, checker), *afterwards(facts, checker, book, follower)]
    return Report(
        rows, checker.broken() | {"events missed": sorted(map(str, missed)), "work that crashed": stack.diary.crashes()}
    )


def orders(book: Book) -> Rows:
    """What was wanted."""
    return [
        ("orders offered", len(book.orders)),
        ("accepted", len(book.accepted)),
        ("refused for good", len(book.refused)),
    ]


def blows(stack: ChaosStack) -> Rows:
    """What befell the stack."""
    hits = stack.diary.counted("kill")
    often = sum(count >= OFTEN for count in hits.values())
    rarest = min(SERVICE_OF, key=lambda point: hits[point])
    return [
        ("SIGKILLs", stack.deaths),
        ("  by process", ", ".join(f"{name} {process.deaths}" for name, process in stack.processes.items())),
        ("  at failpoints", sum(hits.values())),
        ("  distinct failpoints", f"{len(hits)} of {len(SERVICE_OF)}, {often} of them ten times or more"),
        ("  rarest", f"{rarest} {hits[rarest]}"),
        ("SIGSTOPs of three leases", sum(process.freezes for process in stack.processes.values())),
        ("  writes that a fence refused", len(stack.diary.told(REFUSED))),
        ("errors, sleeps, hangs", tuple(stack.diary.counted(action).total() for action in ("error", "sleep", "hang"))),
        ("toxic connections", sum(bool(call.toxic) for call in stack.proxy.calls)),
    ]


def ends(facts: Facts, checker: Checker) -> Rows:
    """What became of the orders."""
    billed, unknown = {bill.attempt_id for bill in facts.bills}, checker.in_state(State.UNKNOWN)
    canceled = checker.in_state(State.CANCELED)
    return [
        ("bills", len(facts.bills)),
        ("SUCCEEDED", len(checker.in_state(State.SUCCEEDED))),
        ("FAILED as the provider says", len(checker.in_state(State.FAILED))),
        ("CANCELED as their owners say", len(canceled)),
        ("  before they were sent", sum(map(checker.canceled_unsent, canceled))),
        ("UNKNOWN", len(unknown)),
        ("  predicted", len(checker.predicted())),
        ("  answer dropped by who was struck", len(checker.dropped())),
        ("  of them billed", sum(row.attempt_id in billed for row in unknown)),
    ]


def afterwards(facts: Facts, checker: Checker, book: Book, follower: Follower) -> Rows:
    """What came after the orders."""
    wanted = [order.errand for order in book.orders.values()]
    succeeded = {row.id for row in checker.in_state(State.SUCCEEDED)}
    return [
        (
            "cancels wanted, confirmed",
            (sum(map(wanted.count, (Errand.HASTY, Errand.CANCEL))), sum(book.cancels.values())),
        ),
        ("retries of failed, SUCCEEDED since", (len(book.retries), len(book.retries & succeeded))),
        ("pictures shared, shares kept", (len(book.shares), len(facts.shares))),
        ("events followed", f"{len(follower.seen)}, repeated {len(follower.seen) - len(set(follower.seen))}"),
    ]
