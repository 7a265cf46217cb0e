"""The checker names each promise that is broken on purpose."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from services.generation.model import State
from tests.chaos.checker import Checker
from tests.chaos.evidence import Bill, Facts, Observations
from tests.chaos.order_clients import ClientLog, scripted
from tests.chaos.process import ProcessRun
from tests.chaos.process_logs import WorkSpan
from tests.chaos.proxy import Call

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
TAKEN = b'{"code": 200, "data": {"taskId": "task"}}'
ORDER = scripted("seed", 1, "ok")
KEY = "generated/gen_1/0.png"
PID = 7
REFUSAL = b'{"code": 429, "msg": ""}'
SPAN = WorkSpan("gen_1", PID, 8.0, 12.0, "done")
BILL = Bill("task", "att_1", "ok", "success", 1, (200,), ("digest",))


def call_of(attempt: str, body: bytes, began: float = 10.0) -> Call:
    request = bytearray(b'{"callBackUrl":"http://here/api/callback/image-generated/%b.secret"}' % attempt.encode())
    return Call("", 0, PID, began, began + 1, request, bytearray(ANSWER % (len(body), body)))


@dataclass(frozen=True)
class Ending:
    """Facts and observations of one generation that ended well; tests change one thing in them."""

    state: State = State.SUCCEEDED
    path: tuple[State, ...] = (State.READY, State.DIALING, State.SENDING)
    bills: tuple[Bill, ...] = (BILL,)
    calls: tuple[Call, ...] = (call_of("att_1", TAKEN),)
    spans: tuple[WorkSpan, ...] = (SPAN,)
    runs: tuple[ProcessRun, ...] = (ProcessRun("generation", PID, 0.0),)
    outcome: str = "ACCEPTED"
    files: dict[str, str] = field(default_factory=lambda: {KEY: "digest"})
    rows: tuple[tuple[str, int, str, str], ...] = (("gen_1", 0, KEY, "digest"),)
    webhooks: tuple[tuple[str, str], ...] = (("att_1", "done"),)
    last_event: str = ""
    accepted: str = "gen_1"
    cancels: dict[str, bool] = field(default_factory=dict)
    retries: frozenset[str] = frozenset()
    shared: dict[str, set[str]] = field(default_factory=dict)
    shares: tuple[tuple[str, str], ...] = ()
    kept: str = KEY
    announced: tuple[tuple[str, float], ...] = ()

    def broken(self) -> dict[str, list[str]]:
        """The promises that the checker finds broken, with sentences."""
        found = Checker(self._facts(), Observations(self._log(), self.calls, self.spans, self.runs)).broken()
        return {what: sentences for what, sentences in found.items() if sentences}

    def _log(self) -> ClientLog:
        orders, accepted = {ORDER.prompt: ORDER}, {ORDER.prompt: self.accepted}
        return ClientLog(orders, accepted, cancels=self.cancels, retries=set(self.retries), shares=self.shared)

    def _facts(self) -> Facts:
        return Facts(
            generations={"gen_1": row(id="gen_1", attempt_id="att_1", state=self.state, draft=ORDER.prompt)},
            attempts=[row(id="att_1", generation_id="gen_1", outcome=self.outcome, task_id=None)],
            outputs=[row(generation_id="gen_1", idx=0, key=self.kept, file_stem="0")],
            inbox=[
                row(id="cb_1", kind="image-generated", attempt_id=attempt, verdict=verdict)
                for attempt, verdict in self.webhooks
            ],
            events=self._events(),
            objects=[row(generation_id=g, idx=i, key=k, sha256=digest) for g, i, k, digest in self.rows],
            files=self.files,
            bills=self.bills,
            shares=[row(generated_ref=ref, id=identifier) for ref, identifier in self.shares],
            announced=[row(key=KEY, sha256=digest, create_ms=when * 1000) for digest, when in self.announced],
        )

    def _events(self) -> list[Any]:
        """One event a second for each state on the path, and the last."""
        states = [*self.path, self.last_event or self.state]
        snapshots = [json.dumps({"state": state, "attempt_id": "att_1"}) for state in states]
        return [
            row(generation_id="gen_1", sequence=number, create_ms=number * 1000, snapshot=snapshot)
            for number, snapshot in enumerate(snapshots, 8)
        ]


def row(**columns: Any) -> Any:
    return SimpleNamespace(reason="", message="", **columns)


NO_ANSWER = Ending(State.UNKNOWN, bills=(replace(BILL, tries=()),), calls=(), webhooks=())
RECOVERED = (State.SENDING, State.AMBIGUOUS)  # at 8 s and at 9 s
READ = replace(NO_ANSWER, path=RECOVERED, calls=(call_of("att_1", TAKEN, began=8.2),), outcome="")
UNFINISHED = SPAN._replace(ended=math.inf, how="")
KILLED = (ProcessRun("generation", PID, 0.0, 8.6),)
KILLED_AT_WORK = replace(READ, spans=(UNFINISHED,), runs=KILLED)  # after it had read the answer, before it wrote it
REFUSED = replace(READ, calls=(call_of("att_1", REFUSAL, began=8.2),), bills=())
LATE = SPAN._replace(how="FenceLost")
DROPPED, NOT_PREDICTED = "certain answers thrown away", "UNKNOWN not as predicted"
CANCELED = Ending(State.CANCELED, cancels={"gen_1": True})
STORAGE = ProcessRun("storage", PID, 0.0, 10.5)
LEFT = replace(CANCELED, rows=(), kept="", announced=(("digest", 10.0),), runs=(STORAGE,))
SHARED = Ending(shared={f"http://here/files/{KEY}": {"share_1"}}, shares=((KEY, "share_1"),))
CASES: list[tuple[str, Ending]] = [
    ("lost", Ending(accepted="gen_2")),
    ("lost", replace(NO_ANSWER, state=State.RUNNING)),
    ("lost", Ending(webhooks=(("att_1", ""),))),
    ("billed twice by our sending", Ending(bills=(BILL, replace(BILL, task_id="other", sha256=())))),
    ("billed twice by our sending", Ending(bills=(BILL, replace(BILL, attempt_id="att_nobody")))),
    ("duplicate objects", Ending(rows=(("gen_1", 0, KEY, "digest"), ("gen_1", 0, "generated/gen_1/0.jpg", "digest")))),
    ("duplicate objects", Ending(files={KEY: "digest", "generated/gen_1/0.jpg": "digest"})),
    ("duplicate objects", Ending(rows=(), kept="", announced=LEFT.announced, runs=LEFT.runs)),  # nobody canceled
    ("duplicate objects", replace(LEFT, announced=())),  # garbage collection would not know it
    ("duplicate objects", replace(LEFT, announced=(("another", 10.0),))),
    ("duplicate objects", replace(LEFT, announced=(("digest", 4.0),))),  # it was killed long after
    ("duplicate objects", replace(LEFT, runs=(ProcessRun("storage", PID, 0.0),))),  # still running
    ("duplicate objects", replace(LEFT, runs=(ProcessRun("generation", PID, 0.0, 10.5),))),
    ("duplicate objects", replace(LEFT, kept=KEY)),  # it was written down
    ("SUCCEEDED without exact bytes", Ending(files={})),
    ("SUCCEEDED without exact bytes", Ending(files={KEY: "half of it"})),
    ("SUCCEEDED without exact bytes", Ending(rows=(("gen_1", 0, KEY, "another"),))),
    ("SUCCEEDED without exact bytes", Ending(bills=(replace(BILL, sha256=("digest", "a second")),))),
    ("UNKNOWN not as predicted", Ending(State.UNKNOWN)),
    ("UNKNOWN not as predicted", Ending(State.UNKNOWN, calls=())),
    ("UNKNOWN not as predicted", Ending(State.UNKNOWN, bills=(replace(BILL, tries=()),), webhooks=())),
    ("UNKNOWN not as predicted", replace(NO_ANSWER, state=State.SUCCEEDED)),
    (NOT_PREDICTED, READ),
    (DROPPED, READ),  # the work ended, and nothing was written
    (DROPPED, replace(READ, runs=KILLED)),  # killed after it had dropped the answer, in the same second
    (
        DROPPED,
        replace(READ, state=State.SUCCEEDED, webhooks=(("att_1", "done"),)),
    ),  # and a callback brought the news later
    (DROPPED, replace(KILLED_AT_WORK, runs=(ProcessRun("generation", PID, 0.0),))),  # still running, and never wrote it
    (DROPPED, replace(KILLED_AT_WORK, runs=(ProcessRun("generation", PID, 0.0, 30.0),))),  # did not write it for long
    (
        DROPPED,
        replace(KILLED_AT_WORK, runs=(ProcessRun("generation", PID + 1, 0.0, 8.6),)),
    ),  # another process was killed
    (DROPPED, replace(KILLED_AT_WORK, spans=(UNFINISHED._replace(pid=PID + 1),))),  # another process was at this work
    (DROPPED, replace(KILLED_AT_WORK, spans=(UNFINISHED._replace(subject="gen_2"),))),  # it was killed at other work
    (
        DROPPED,
        replace(KILLED_AT_WORK, spans=(*KILLED_AT_WORK.spans, SPAN._replace(began=8.1))),
    ),  # a later span dropped it
    (
        DROPPED,
        replace(READ, spans=(SPAN, UNFINISHED._replace(pid=PID + 1, began=8.1))),
    ),  # it went on, and another process was killed at this work
    (DROPPED, replace(READ, spans=(LATE,))),  # an accepted task needs no lease to be written
    (DROPPED, replace(REFUSED, spans=(LATE,))),  # nor does a refusal
    (DROPPED, replace(REFUSED, spans=(SPAN._replace(how="Unavailable"),))),  # a store that is away is no excuse
    (NOT_PREDICTED, replace(KILLED_AT_WORK, state=State.RUNNING)),
    (NOT_PREDICTED, replace(KILLED_AT_WORK, path=(State.SENDING, State.RUNNING))),
    ("cancels not kept", Ending(State.CANCELED)),
    ("cancels not kept", Ending(cancels={"gen_1": True})),
    ("cancels not kept", replace(CANCELED, path=(State.READY, State.DIALING))),
    ("shares lost or doubled", replace(SHARED, shares=())),
    ("shares lost or doubled", replace(SHARED, shares=((KEY, "share_1"), (KEY, "share_2")))),
    ("shares lost or doubled", replace(SHARED, shares=((KEY, "share_2"),))),
    ("shares lost or doubled", Ending(shares=((KEY, "share_1"),))),
    ("ended otherwise than the provider says", Ending(State.FAILED)),
    ("ended otherwise than the provider says", Ending(bills=(replace(BILL, script="fail,ok"),))),
    ("ended otherwise than the provider says", Ending(State.RESULT_LOST)),
    ("events out of step", Ending(last_event="STORING")),
]


@pytest.mark.parametrize(("what", "ending"), CASES, ids=[f"{number}-{what}" for number, (what, _) in enumerate(CASES)])
def test_a_broken_promise_is_named(what: str, ending: Ending) -> None:
    assert what in ending.broken()


def test_a_good_end_breaks_nothing() -> None:
    assert Ending().broken() == {}


def test_a_file_whose_copy_a_kill_interrupted_and_whose_order_was_canceled_then_is_left_for_garbage_collection() -> (
    None
):
    assert LEFT.broken() == {}


def test_an_order_without_any_news_is_rightly_unknown() -> None:
    assert NO_ANSWER.broken() == {}


# It was stopped for longer than its lease, another process took the order up, and it was killed after it had gone on.
OVERTAKEN = replace(KILLED_AT_WORK, spans=(UNFINISHED, SPAN._replace(pid=PID + 1, began=8.1)))


@pytest.mark.parametrize("ending", [KILLED_AT_WORK, OVERTAKEN, replace(REFUSED, spans=(UNFINISHED,), runs=KILLED)])
def test_an_answer_that_was_lost_with_its_process_is_rightly_unknown(ending: Ending) -> None:
    assert ending.broken() == {}


def test_a_call_whose_process_is_unknown_belongs_to_the_last_span_of_work() -> None:
    """The process may have ended before the kernel's tables were read."""
    unknown = replace(KILLED_AT_WORK.calls[0], pid=0)

    assert replace(KILLED_AT_WORK, calls=(unknown,)).broken() == {}


def test_a_second_bill_is_right_once_the_owner_has_retried() -> None:
    billed_again = Ending(bills=(BILL, replace(BILL, attempt_id="att_2", task_id="other", sha256=())))
    attempts = [row(id=name, generation_id="gen_1", outcome="", task_id=None) for name in ("att_1", "att_2")]

    assert bills_of(billed_again, attempts, frozenset()) == ["2 bills for gen_1"]
    assert bills_of(billed_again, attempts, frozenset({"gen_1"})) == []


def bills_of(ending: Ending, attempts: list[Any], retries: frozenset[str]) -> list[str]:
    """What the checker finds wrong with the bills, with these attempts."""
    log = ClientLog(retries=set(retries))
    return list(Checker(replace(ending._facts(), attempts=attempts), Observations(log, ())).billed_twice())


@pytest.mark.parametrize("ending", [CANCELED, SHARED, Ending(cancels={"gen_1": False})])
def test_a_follow_up_that_was_kept_breaks_nothing(ending: Ending) -> None:
    assert ending.broken() == {}


@pytest.mark.parametrize(
    ("body", "change", "verdict"),
    [
        (TAKEN, lambda answer: answer, "taken"),
        (b'{"code": 429, "msg": ""}', lambda answer: answer, "refused"),
        (b'{"code": 500, "msg": ""}', lambda answer: answer, ""),
        (b'{"code": 200, "data": {}}', lambda answer: answer, ""),
        (b"<html>", lambda answer: answer, ""),
        (TAKEN, lambda answer: answer[:-1], ""),
        (TAKEN, lambda _: b"", ""),
    ],
)
def test_only_an_answer_that_passed_whole_and_leaves_no_doubt_is_definite(
    body: bytes, change: Callable[[bytes], bytes], verdict: str
) -> None:
    call = call_of("att_1", body)
    call.answer = bytearray(change(bytes(call.answer)))

    assert call.attempt == "att_1"
    assert call.verdict == verdict
