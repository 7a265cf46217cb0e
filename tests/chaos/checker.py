"""Joins ledger, databases, files and witnesses, and says where a promise was broken (reliability.md G1 and G2)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from services.generation.model import FINAL, State
from tests.chaos.facts import Bill, Facts
from tests.chaos.orders import Book
from tests.chaos.proxy import Call

NEAR_SECONDS = 2.0  # how long after an answer a death may still keep it from being recorded
FAILING = frozenset({"fail", "policy"})
Generation = Row[Any]


@dataclass(frozen=True)
class Witness:
    """What was seen from outside: the customers' book, the proxy's calls, and when generation was struck."""

    book: Book
    calls: Sequence[Call]
    strikes: Sequence[float]

    def verdicts(self) -> Mapping[str, Call]:
        """The call of each attempt whose answer was passed on and was certain."""
        return {call.attempt: call for call in self.calls if call.attempt and call.verdict}

    def struck(self, call: Call) -> bool:
        """Whether generation was struck while it had this call in hand."""
        return any(call.began <= strike <= call.ended + NEAR_SECONDS for strike in self.strikes)


class Checker:
    """Each method yields a sentence for every broken promise of its kind."""

    def __init__(self, facts: Facts, witness: Witness) -> None:
        self._facts = facts
        self._witness = witness
        self._bills: defaultdict[str, list[Bill]] = defaultdict(list)
        for bill in facts.bills:
            self._bills[bill.attempt_id].append(bill)
        self._verdicts = witness.verdicts()
        self._outputs: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        for output in facts.outputs:
            self._outputs[output.generation_id].append(output)
        self._objects = {row.key: row for row in facts.objects}

    def broken(self) -> dict[str, list[str]]:
        """Every promise with what broke it."""
        return {
            "lost": list(self.lost()),
            "billed twice by our sending": list(self.billed_twice()),
            "duplicate objects": list(self.duplicates()),
            "SUCCEEDED without exact bytes": list(self.inexact()),
            "UNKNOWN not as predicted": list(self.misjudged()),
            "ended otherwise than the provider says": list(self.contradicted()),
            "events out of step": list(self.out_of_step()),
            "odd answers to customers": list(self._witness.book.odd),
        }

    def in_state(self, *states: State) -> list[Generation]:
        """Generations in a state."""
        return [row for row in self._facts.generations.values() if row.state in states]

    def predicted(self) -> set[str]:
        """Generations whose last attempt left us with no certain answer and no callback: all these are UNKNOWN."""
        rows = self._facts.generations.values()
        return {row.id for row in rows if row.attempt_id and row.state != State.EXPIRED and self._unheard(row)}

    def _unheard(self, row: Generation) -> bool:
        return row.attempt_id not in self._verdicts and not self.heard(row)

    def heard(self, row: Generation) -> bool:
        """Whether a callback of the last attempt was taken; it may be ours although the provider never learnt so."""
        kept = any(webhook.attempt_id == row.attempt_id for webhook in self._facts.inbox)
        return kept or any(bill.heard for bill in self._bills[row.attempt_id])

    def killed_in_hand(self) -> set[str]:
        """Generations whose certain answer died with the process that had just read it, and no callback came."""
        rows = self._facts.generations.values()
        return {
            row.id
            for row in rows
            if (call := self._verdicts.get(row.attempt_id)) and not self.heard(row) and self._witness.struck(call)
        }

    def lost(self) -> Iterator[str]:
        """Accepted, and not ended, or not there; or there under a key twice."""
        for prompt, identifier in self._witness.book.accepted.items():
            row = self._facts.generations.get(identifier)
            if row is None:
                yield f"{identifier} was accepted and is nowhere: {prompt}"
            elif row.state not in FINAL:
                yield f"{identifier} is still {row.state}: {prompt}"
        for callback in self._facts.inbox:
            if not callback.verdict:
                yield f"webhook {callback.id} of {callback.attempt_id} was never dealt with"

    def billed_twice(self) -> Iterator[str]:
        """More than one bill for an attempt, or for a generation; or a bill for an attempt we do not know."""
        owners = {row.id: row.generation_id for row in self._facts.attempts}
        for attempt, bills in self._bills.items():
            if attempt not in owners:
                yield f"{len(bills)} bills for {attempt}, which is no attempt of ours"
            if len(bills) > 1:
                yield f"{len(bills)} bills for the one attempt {attempt}"
        counted = Counter(owners.get(bill.attempt_id, "") for bill in self._facts.bills)
        yield from (f"{count} bills for {owner}" for owner, count in counted.items() if owner and count > 1)

    def duplicates(self) -> Iterator[str]:
        """Two objects of one picture, a file without a row, or two generations of one order."""
        pictures = Counter((row.generation_id, row.idx) for row in self._facts.objects if row.generation_id)
        yield from twice(pictures)
        yield from twice(Counter(key.rpartition(".")[0] for key in self._facts.files))
        yield from (f"the file {key} has no row" for key in self._facts.files if key not in self._objects)
        prompts = Counter(row.draft for row in self._facts.generations.values())
        yield from twice(prompts)

    def inexact(self) -> Iterator[str]:
        """SUCCEEDED whose pictures are not, byte by byte, what the provider drew."""
        for row in self.in_state(State.SUCCEEDED):
            wanted = [digest for bill in self._bills[row.attempt_id] for digest in bill.sha256]
            kept = [output.key for output in sorted(self._outputs[row.id], key=lambda output: output.idx)]
            rows = [self._objects[key].sha256 if key in self._objects else "no row" for key in kept]
            files = [self._facts.files.get(key, "no file") for key in kept]
            if not wanted == rows == files:
                yield f"{row.id}: drawn {wanted}, rows {rows}, files {files}"

    def misjudged(self) -> Iterator[str]:
        """UNKNOWN without a reason, or not UNKNOWN although nobody can know."""
        unknown = {row.id for row in self.in_state(State.UNKNOWN)}
        for identifier in sorted(self.predicted() - unknown):
            yield f"{identifier} is {self._facts.generations[identifier].state}, but nobody could tell us"
        for identifier in sorted(unknown - self.predicted() - self.killed_in_hand()):
            row = self._facts.generations[identifier]
            yield f"{identifier} is UNKNOWN ({row.reason}), but {row.attempt_id} was heard of: {row.draft}"

    def contradicted(self) -> Iterator[str]:
        """An end that the provider's own verdict does not bear out."""
        for row in self._facts.generations.values():
            scripts = [bill.script for bill in self._bills[row.attempt_id]]
            failing = any(not FAILING.isdisjoint(script.split(",")) for script in scripts)
            rejected = "sim:422" in row.draft
            if row.state in {State.EXPIRED, State.RESULT_LOST}:
                yield f"{row.id} is {row.state} ({row.message}): {row.draft}"
            if row.state == State.SUCCEEDED and (failing or rejected):
                yield f"{row.id} is SUCCEEDED against {scripts}"
            if row.state == State.FAILED and not (failing or rejected):
                yield f"{row.id} is FAILED ({row.message}) with {scripts}"

    def out_of_step(self) -> Iterator[str]:
        """The last event of a generation does not tell its state."""
        last = {row.generation_id: row.snapshot for row in sorted(self._facts.events, key=lambda row: row.sequence)}
        for row in self._facts.generations.values():
            if f'"state":"{row.state}"' not in last.get(row.id, ""):
                yield f"{row.id} is {row.state}, its last event says {last.get(row.id)}"


def twice(counted: Mapping[Any, int]) -> Iterable[str]:
    """What is there more than once."""
    return (f"{count} times {what}" for what, count in counted.items() if count > 1)
