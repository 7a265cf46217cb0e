"""Joins ledger, databases, files and witnesses, and says where a promise was broken (docs/testing.md#how-it-judges)."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from sqlalchemy import Row

from services.generation.model import FINAL, REMINDER, UNSENT, State
from tests.chaos.diary import Piece
from tests.chaos.facts import Bill, Facts, Moment
from tests.chaos.witness import Witness

FAILING = frozenset({"fail", "policy"})
WITHDRAWN = frozenset({State.EXPIRED, State.CANCELED})  # ends that need no answer
LEFT = (State.SENDING, State.AMBIGUOUS)  # nobody but recovery makes this move
HELD_SECONDS = 6.0  # a process that stood still for three leases may die with an answer that others gave up for lost
SCRIPTED = "sim:"
Generation = Row[Any]


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
        self._attempts = {row.id: row for row in facts.attempts}
        self._kept = {webhook.attempt_id for webhook in facts.inbox}

    def broken(self) -> dict[str, list[str]]:
        """Every promise with what broke it."""
        return {
            "lost": list(self.lost()),
            "billed twice by our sending": list(self.billed_twice()),
            "duplicate objects": list(self.duplicates()),
            "SUCCEEDED without exact bytes": list(self.inexact()),
            "certain answers thrown away": list(self.thrown_away()),
            "UNKNOWN not as predicted": list(self.misjudged()),
            "ended otherwise than the provider says": list(self.contradicted()),
            "cancels not kept": list(self.canceled_wrongly()),
            "shares lost or doubled": list(self.shares_astray()),
            "events out of step": list(self.out_of_step()),
            "odd answers to customers": list(self._witness.book.odd),
        }

    def in_state(self, *states: State) -> list[Generation]:
        """Generations in a state."""
        return [row for row in self._facts.generations.values() if row.state in states]

    def predicted(self) -> set[str]:
        """The generations that have to be UNKNOWN: nobody told us for certain, or who was told did not live to write.

        In both cases no callback came that would have told us again.
        """
        asking = [row for row in self._facts.generations.values() if row.attempt_id and row.state not in WITHDRAWN]
        unheard = [row for row in asking if not self.heard(row)]
        return {row.id for row in unheard if row.attempt_id not in self._verdicts} | self.dropped()

    def heard(self, row: Generation) -> bool:
        """Whether a callback of the last attempt was taken; it may be ours although the provider never learnt so."""
        return row.attempt_id in self._kept or any(bill.heard for bill in self._bills[row.attempt_id])

    def dropped(self) -> set[str]:
        """Generations whose certain answer died with the process that had it in hand, before it was written."""
        rows = self._facts.generations.values()
        return {row.id for row in rows if row.state not in WITHDRAWN and not self.heard(row) and self._dropped(row)}

    def _dropped(self, row: Generation) -> bool:
        attempt = self._attempts.get(row.attempt_id)
        if attempt is None or attempt.id not in self._verdicts or attempt.outcome or attempt.task_id:
            return False
        return self._was_left(row) and self._excused(attempt)

    def _was_left(self, row: Generation) -> bool:
        """Whether the last attempt was in SENDING until somebody else ended that."""
        moves = pairwise(self._history(row))
        return any((old.state, new.state, old.attempt_id) == (*LEFT, row.attempt_id) for old, new in moves)

    def thrown_away(self) -> Iterator[str]:
        """A certain answer that reached a process which neither wrote it down nor died with it in hand.

        It counts even where a callback brought the same news later.
        """
        for attempt_id, call in self._verdicts.items():
            attempt = self._attempts.get(attempt_id)
            if attempt is not None and not attempt.outcome and not self._excused(attempt):
                told = f"{attempt_id} of {attempt.generation_id} was {call.verdict}"
                piece = self._witness.holder(attempt.generation_id, call)
                yield f"{told} at {call.ended:.3f}, and process {call.pid} dropped that: {piece}"

    def _excused(self, attempt: Row[Any]) -> bool:
        """Whether the process that had an attempt's answer in hand died with it.

        Nothing else excuses: a store that is away is waited for, and what was refused is written without a lease too.
        """
        piece = self._witness.holder(attempt.generation_id, self._verdicts[attempt.id])
        return piece is not None and not piece.how and self._died_in_time(attempt, piece)

    def _died_in_time(self, attempt: Row[Any], piece: Piece) -> bool:
        """Whether a process died with the piece in hand; one that held it on and on is a loss like any other."""
        died = self._witness.died(piece)
        left = [
            new.when
            for old, new in pairwise(self._facts.histories.get(attempt.generation_id, ()))
            if (old.state, new.state, old.attempt_id) == (*LEFT, attempt.id)
        ]
        return died is not None and math.isfinite(died) and all(died <= when + HELD_SECONDS for when in left)

    def _history(self, row: Generation) -> Iterable[Moment]:
        return self._facts.histories.get(row.id, ())

    def lost(self) -> Iterator[str]:
        """Accepted, and not ended, or not there; or there under a key twice."""
        for prompt, identifier in self._witness.book.accepted.items():
            row = self._facts.generations.get(identifier)
            if row is None:
                yield f"{identifier} was accepted and is nowhere: {prompt}"
            elif row.state not in FINAL:
                yield f"{identifier} is still {row.state}: {prompt}"
        for callback in self._facts.inbox:
            if not callback.verdict and callback.kind != REMINDER:
                yield f"webhook {callback.id} of {callback.attempt_id} was never dealt with"

    def billed_twice(self) -> Iterator[str]:
        """More than one bill for an attempt, or for a chain of attempts that its owner wanted; or one of no attempt."""
        owners = {row.id: row.generation_id for row in self._facts.attempts}
        for attempt, bills in self._bills.items():
            if attempt not in owners:
                yield f"{len(bills)} bills for {attempt}, which is no attempt of ours"
            if len(bills) > 1:
                yield f"{len(bills)} bills for the one attempt {attempt}"
        counted = Counter(owners.get(bill.attempt_id, "") for bill in self._facts.bills)
        for owner, count in counted.items():
            if owner and count > 1 + (owner in self._witness.book.retries):
                yield f"{count} bills for {owner}"

    def duplicates(self) -> Iterator[str]:
        """Two objects of one picture, a file without a row, or two generations of one order."""
        pictures = Counter((row.generation_id, row.idx) for row in self._facts.objects if row.generation_id)
        yield from twice(pictures)
        yield from twice(Counter(key.rpartition(".")[0] for key in self._facts.files))
        yield from (f"the file {key} has no row" for key in self._facts.files if key not in self._objects)
        drafts = (row.draft for row in self._facts.generations.values())
        prompts = Counter(draft for draft in drafts if SCRIPTED in draft)  # a forgotten one says nothing
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
        for identifier in sorted(unknown - self.predicted()):
            row = self._facts.generations[identifier]
            yield f"{identifier} is UNKNOWN ({row.reason}), but {row.attempt_id} was heard of: {row.draft}"

    def canceled_wrongly(self) -> Iterator[str]:
        """CANCELED that nobody wanted, wanted and promised and not CANCELED, or billed although it was not yet sent."""
        cancels = self._witness.book.cancels
        yield from (f"{row.id} is CANCELED by nobody" for row in self.in_state(State.CANCELED) if row.id not in cancels)
        for identifier in (identifier for identifier, promised in cancels.items() if promised):
            row = self._facts.generations[identifier]
            if row.state != State.CANCELED:
                yield f"{identifier} was canceled and is {row.state}"
            if self.canceled_unsent(row) and self._bills[row.attempt_id]:
                yield f"{identifier} was canceled before it was sent, and {row.attempt_id} is billed"

    def canceled_unsent(self, row: Generation) -> bool:
        """Whether a generation was canceled before anything was sent."""
        before = [moment.state for moment in self._history(row) if moment.state != State.CANCELED]
        return bool(before) and before[-1] in UNSENT

    def shares_astray(self) -> Iterator[str]:
        """A picture that was shared and is not, or more than once; or is, and nobody shared it."""
        kept: defaultdict[str, list[str]] = defaultdict(list)
        for row in self._facts.shares:
            kept[row.generated_ref].append(row.id)
        wanted = {uri.partition("/files/")[2]: told for uri, told in self._witness.book.shares.items()}
        for ref, told in wanted.items():
            if list(told) != kept[ref]:
                yield f"{ref} was shared as {sorted(told)}, kept is {kept[ref]}"
        yield from (f"nobody shared {ref}" for ref in kept.keys() - wanted.keys())

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
        for row in self._facts.generations.values():
            last = [moment.state for moment in self._history(row)][-1:]
            if last != [row.state]:
                yield f"{row.id} is {row.state}, its last event says {last}"


def twice(counted: Mapping[Any, int]) -> Iterable[str]:
    """What is there more than once."""
    return (f"{count} times {what}" for what, count in counted.items() if count > 1)
