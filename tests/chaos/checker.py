"""The checker: compares ledger, databases, files and observations, and names each broken promise.

See docs/testing.md#how-it-judges.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Row

from services.generation.model import FINAL, REMINDER, UNSENT, State
from tests.chaos.evidence import Bill, Facts, Observations, StateChange
from tests.chaos.process_logs import WorkSpan

FAILING = frozenset({"fail", "policy"})
NEED_NO_ANSWER = frozenset({State.EXPIRED, State.CANCELED})  # ends that need no answer
RECOVERED = (State.SENDING, State.AMBIGUOUS)  # the move that only recovery makes
HELD_SECONDS = 6.0  # a process that was stopped for three leases may end after recovery has taken its work
SCRIPTED = "sim:"
Generation = Row[Any]


class Checker:
    """Checks generations; each method yields a sentence for every broken promise of its kind."""

    def __init__(self, facts: Facts, observed: Observations) -> None:
        self._facts = facts
        self._observed = observed
        self._bills: defaultdict[str, list[Bill]] = defaultdict(list)
        for bill in facts.bills:
            self._bills[bill.attempt_id].append(bill)
        self._answers = observed.definite_answers()
        self._outputs: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        for output in facts.outputs:
            self._outputs[output.generation_id].append(output)
        self._objects = {row.key: row for row in facts.objects}
        self._attempts = {row.id: row for row in facts.attempts}
        self._with_callback = {webhook.attempt_id for webhook in facts.inbox}

    def broken(self) -> dict[str, list[str]]:
        """By promise, a sentence for each time that it was broken."""
        return {
            "lost": list(self.lost()),
            "billed twice by our sending": list(self.billed_twice()),
            "duplicate objects": list(self.duplicates()),
            "SUCCEEDED without exact bytes": list(self.inexact()),
            "certain answers thrown away": list(self.answers_dropped()),
            "UNKNOWN not as predicted": list(self.unknown_not_predicted()),
            "ended otherwise than the provider says": list(self.contradicting_ends()),
            "cancels not kept": list(self.cancels_not_kept()),
            "shares lost or doubled": list(self.shares_wrong()),
            "events out of step": list(self.out_of_step()),
            "unexpected answers to clients": list(self._observed.log.unexpected),
        }

    def in_state(self, *states: State) -> list[Generation]:
        """Generations in a state."""
        return [row for row in self._facts.generations.values() if row.state in states]

    def predicted(self) -> set[str]:
        """The generations that have to be UNKNOWN.

        No definite answer passed the proxy, or the process that read it ended before it was written; and no callback
        was taken that would have brought the news again.
        """
        waiting = [
            row for row in self._facts.generations.values() if row.attempt_id and row.state not in NEED_NO_ANSWER
        ]
        unheard = [row for row in waiting if not self.callback_taken(row)]
        return {row.id for row in unheard if row.attempt_id not in self._answers} | self.lost_with_process()

    def callback_taken(self, row: Generation) -> bool:
        """Whether a callback of the last attempt was taken, also where the provider never learnt that."""
        return row.attempt_id in self._with_callback or any(bill.delivered for bill in self._bills[row.attempt_id])

    def lost_with_process(self) -> set[str]:
        """Generations whose definite answer was lost when the process that had read it ended before it was written."""
        rows = self._facts.generations.values()
        return {
            row.id
            for row in rows
            if row.state not in NEED_NO_ANSWER and not self.callback_taken(row) and self._lost_with_process(row)
        }

    def _lost_with_process(self, row: Generation) -> bool:
        attempt = self._attempts.get(row.attempt_id)
        if attempt is None or attempt.id not in self._answers or attempt.outcome or attempt.task_id:
            return False
        return self._was_recovered(row) and self._excused(attempt)

    def _was_recovered(self, row: Generation) -> bool:
        """Whether recovery moved the last attempt from SENDING to AMBIGUOUS."""
        moves = pairwise(self._history(row))
        return any((old.state, new.state, old.attempt_id) == (*RECOVERED, row.attempt_id) for old, new in moves)

    def answers_dropped(self) -> Iterator[str]:
        """Definite answers that reached a process which neither wrote them down nor ended while it was at this work.

        They count even where a callback brought the same news later.
        """
        for attempt_id, call in self._answers.items():
            attempt = self._attempts.get(attempt_id)
            if attempt is not None and not attempt.outcome and not self._excused(attempt):
                answer = f"{attempt_id} of {attempt.generation_id} was {call.verdict}"
                span = self._observed.span_of(attempt.generation_id, call)
                yield f"{answer} at {call.ended:.3f}, and process {call.pid} dropped that: {span}"

    def _excused(self, attempt: Row[Any]) -> bool:
        """Whether the process that had read an attempt's answer ended while it was at this work.

        Nothing else excuses: a store that is away is waited for, and what was refused is written without a lease too.
        """
        span = self._observed.span_of(attempt.generation_id, self._answers[attempt.id])
        return span is not None and not span.how and self._ended_in_time(attempt, span)

    def _ended_in_time(self, attempt: Row[Any], span: WorkSpan) -> bool:
        """Whether the process ended during this span, and at most HELD_SECONDS after recovery took the attempt."""
        ended = self._observed.process_end(span)
        recovered = [
            new.when
            for old, new in pairwise(self._facts.histories.get(attempt.generation_id, ()))
            if (old.state, new.state, old.attempt_id) == (*RECOVERED, attempt.id)
        ]
        return ended is not None and math.isfinite(ended) and all(ended <= when + HELD_SECONDS for when in recovered)

    def _history(self, row: Generation) -> Iterable[StateChange]:
        return self._facts.histories.get(row.id, ())

    def lost(self) -> Iterator[str]:
        """Orders that were accepted and are not there or have not ended, and callbacks that were not processed."""
        for prompt, identifier in self._observed.log.accepted.items():
            row = self._facts.generations.get(identifier)
            if row is None:
                yield f"{identifier} was accepted and does not exist: {prompt}"
            elif row.state not in FINAL:
                yield f"{identifier} is still {row.state}: {prompt}"
        for callback in self._facts.inbox:
            if not callback.verdict and callback.kind != REMINDER:
                yield f"webhook {callback.id} of {callback.attempt_id} was never processed"

    def billed_twice(self) -> Iterator[str]:
        """More than one bill for an attempt, or for a generation that was not retried; or a bill of no attempt."""
        owners = {row.id: row.generation_id for row in self._facts.attempts}
        for attempt, bills in self._bills.items():
            if attempt not in owners:
                yield f"{len(bills)} bills for {attempt}, which is no attempt of ours"
            if len(bills) > 1:
                yield f"{len(bills)} bills for the one attempt {attempt}"
        counted = Counter(owners.get(bill.attempt_id, "") for bill in self._facts.bills)
        for owner, count in counted.items():
            if owner and count > 1 + (owner in self._observed.log.retries):
                yield f"{count} bills for {owner}"

    def duplicates(self) -> Iterator[str]:
        """Two objects or files of a picture, a file without a row that is not left, or two generations of an order."""
        pictures = Counter((row.generation_id, row.idx) for row in self._facts.objects if row.generation_id)
        yield from repeated(pictures)
        yield from repeated(Counter(key.rpartition(".")[0] for key in self._facts.files))
        owned = self._objects.keys() | self.left_for_collection()
        yield from (f"the file {key} has no row" for key in self._facts.files if key not in owned)
        drafts = (row.draft for row in self._facts.generations.values())
        prompts = Counter(draft for draft in drafts if SCRIPTED in draft)  # an erased draft has no prompt
        yield from repeated(prompts)

    def left_for_collection(self) -> set[str]:
        """Files without a row that garbage collection finds: their orders were canceled before the copy was repeated.

        Their bytes were announced whole, and the storage process was killed before it wrote the row.
        """
        outputs = (output for row in self.in_state(State.CANCELED) for output in self._outputs[row.id])
        canceled = {output.file_stem for output in outputs if not output.key}
        return {
            row.key
            for row in self._facts.announced
            if PurePosixPath(row.key).stem in canceled
            and row.sha256 == self._facts.files.get(row.key)
            and self._observed.ended_soon("storage", row.create_ms / 1000)
        }

    def inexact(self) -> Iterator[str]:
        """Generations that are SUCCEEDED and whose pictures are not, byte by byte, what the provider made."""
        for row in self.in_state(State.SUCCEEDED):
            wanted = [digest for bill in self._bills[row.attempt_id] for digest in bill.sha256]
            kept = [output.key for output in sorted(self._outputs[row.id], key=lambda output: output.idx)]
            rows = [self._objects[key].sha256 if key in self._objects else "no row" for key in kept]
            files = [self._facts.files.get(key, "no file") for key in kept]
            if not wanted == rows == files:
                yield f"{row.id}: made {wanted}, rows {rows}, files {files}"

    def unknown_not_predicted(self) -> Iterator[str]:
        """Generations that are UNKNOWN and not predicted to be, or the reverse."""
        unknown = {row.id for row in self.in_state(State.UNKNOWN)}
        for identifier in sorted(self.predicted() - unknown):
            yield f"{identifier} is {self._facts.generations[identifier].state}, but no news of it came"
        for identifier in sorted(unknown - self.predicted()):
            row = self._facts.generations[identifier]
            yield f"{identifier} is UNKNOWN ({row.reason}), but news of {row.attempt_id} came: {row.draft}"

    def cancels_not_kept(self) -> Iterator[str]:
        """CANCELED that no client asked for, confirmed cancels that are not CANCELED, or bills of what was not sent."""
        cancels = self._observed.log.cancels
        yield from (f"{row.id} is CANCELED by nobody" for row in self.in_state(State.CANCELED) if row.id not in cancels)
        for identifier in (identifier for identifier, promised in cancels.items() if promised):
            row = self._facts.generations[identifier]
            if row.state != State.CANCELED:
                yield f"{identifier} was canceled and is {row.state}"
            if self.canceled_unsent(row) and self._bills[row.attempt_id]:
                yield f"{identifier} was canceled before it was sent, and {row.attempt_id} is billed"

    def canceled_unsent(self, row: Generation) -> bool:
        """Whether a generation was canceled before anything was sent."""
        before = [change.state for change in self._history(row) if change.state != State.CANCELED]
        return bool(before) and before[-1] in UNSENT

    def shares_wrong(self) -> Iterator[str]:
        """Pictures that were shared and have no share, or several; and shares that no client asked for."""
        kept: defaultdict[str, list[str]] = defaultdict(list)
        for row in self._facts.shares:
            kept[row.generated_ref].append(row.id)
        wanted = {uri.partition("/files/")[2]: ids for uri, ids in self._observed.log.shares.items()}
        for ref, ids in wanted.items():
            if list(ids) != kept[ref]:
                yield f"{ref} was shared as {sorted(ids)}, kept is {kept[ref]}"
        yield from (f"nobody shared {ref}" for ref in kept.keys() - wanted.keys())

    def contradicting_ends(self) -> Iterator[str]:
        """Generations that ended otherwise than the provider's script says."""
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
        """Generations whose last event shows another state than their row."""
        for row in self._facts.generations.values():
            last = [change.state for change in self._history(row)][-1:]
            if last != [row.state]:
                yield f"{row.id} is {row.state}, its last event says {last}"


def repeated(counted: Mapping[Any, int]) -> Iterable[str]:
    """A sentence for each key that was counted more than once."""
    return (f"{count} times {what}" for what, count in counted.items() if count > 1)
