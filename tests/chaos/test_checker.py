"""The checker bites: each promise, broken on purpose, is named."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from services.generation.model import State
from tests.chaos.book import Book
from tests.chaos.checker import Checker
from tests.chaos.diary import Piece
from tests.chaos.facts import Bill, Facts
from tests.chaos.orders import scripted
from tests.chaos.process import Life
from tests.chaos.proxy import Call
from tests.chaos.witness import Witness

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
TAKEN = b'{"code": 200, "data": {"taskId": "task"}}'
ORDER = scripted("seed", 1, "ok")
KEY = "generated/gen_1/0.png"
PID = 7
REFUSAL = b'{"code": 429, "msg": ""}'
PIECE = Piece("gen_1", PID, 8.0, 12.0, "done")
BILL = Bill("task", "att_1", "ok", "success", 1, (200,), ("digest",))


def call_of(attempt: str, body: bytes, began: float = 10.0) -> Call:
    asked = bytearray(b'{"callBackUrl":"http://here/api/callback/image-generated/%b.secret"}' % attempt.encode())
    return Call("", 0, PID, began, began + 1, asked, bytearray(ANSWER % (len(body), body)))


@dataclass(frozen=True)
class World:
    """A good ending, to be spoiled."""

    state: State = State.SUCCEEDED
    path: tuple[State, ...] = (State.READY, State.DIALING, State.SENDING)
    bills: tuple[Bill, ...] = (BILL,)
    calls: tuple[Call, ...] = (call_of("att_1", TAKEN),)
    pieces: tuple[Piece, ...] = (PIECE,)
    lives: tuple[Life, ...] = (Life("generation", PID, 0.0),)
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

    def broken(self) -> dict[str, list[str]]:
        """What the checker says."""
        found = Checker(self._facts(), Witness(self._book(), self.calls, self.pieces, self.lives)).broken()
        return {what: sentences for what, sentences in found.items() if sentences}

    def _book(self) -> Book:
        orders, accepted = {ORDER.prompt: ORDER}, {ORDER.prompt: self.accepted}
        return Book(orders, accepted, cancels=self.cancels, retries=set(self.retries), shares=self.shared)

    def _facts(self) -> Facts:
        return Facts(
            generations={"gen_1": row(id="gen_1", attempt_id="att_1", state=self.state, draft=ORDER.prompt)},
            attempts=[row(id="att_1", generation_id="gen_1", outcome=self.outcome, task_id=None)],
            outputs=[row(generation_id="gen_1", idx=0, key=KEY)],
            inbox=[
                row(id="cb_1", kind="image-generated", attempt_id=attempt, verdict=verdict)
                for attempt, verdict in self.webhooks
            ],
            events=self._events(),
            objects=[row(generation_id=g, idx=i, key=k, sha256=digest) for g, i, k, digest in self.rows],
            files=self.files,
            bills=self.bills,
            shares=[row(generated_ref=ref, id=identifier) for ref, identifier in self.shares],
        )

    def _events(self) -> list[Any]:
        """One event a second for each state on the path, and the last."""
        told = [*self.path, self.last_event or self.state]
        snapshots = [json.dumps({"state": state, "attempt_id": "att_1"}) for state in told]
        return [
            row(generation_id="gen_1", sequence=number, create_ms=number * 1000, snapshot=snapshot)
            for number, snapshot in enumerate(snapshots, 8)
        ]


def row(**columns: Any) -> Any:
    return SimpleNamespace(reason="", message="", **columns)


UNHEARD = World(State.UNKNOWN, bills=(replace(BILL, tries=()),), calls=(), webhooks=())
LEFT = (State.SENDING, State.AMBIGUOUS)  # at 8 s and at 9 s
READ = replace(UNHEARD, path=LEFT, calls=(call_of("att_1", TAKEN, began=8.2),), outcome="")
IN_HAND = PIECE._replace(ended=math.inf, how="")
DEAD = (Life("generation", PID, 0.0, 8.6),)
DIED = replace(READ, pieces=(IN_HAND,), lives=DEAD)  # with the answer in hand
REFUSED = replace(READ, calls=(call_of("att_1", REFUSAL, began=8.2),), bills=())
LATE = PIECE._replace(how="FenceLost")
AWAY, ODD = "certain answers thrown away", "UNKNOWN not as predicted"
CANCELED = World(State.CANCELED, cancels={"gen_1": True})
SHARED = World(shared={f"http://here/files/{KEY}": {"share_1"}}, shares=((KEY, "share_1"),))
CASES: list[tuple[str, World]] = [
    ("lost", World(accepted="gen_2")),
    ("lost", replace(UNHEARD, state=State.RUNNING)),
    ("lost", World(webhooks=(("att_1", ""),))),
    ("billed twice by our sending", World(bills=(BILL, replace(BILL, task_id="other", sha256=())))),
    ("billed twice by our sending", World(bills=(BILL, replace(BILL, attempt_id="att_nobody")))),
    ("duplicate objects", World(rows=(("gen_1", 0, KEY, "digest"), ("gen_1", 0, "generated/gen_1/0.jpg", "digest")))),
    ("duplicate objects", World(files={KEY: "digest", "generated/gen_1/0.jpg": "digest"})),
    ("SUCCEEDED without exact bytes", World(files={})),
    ("SUCCEEDED without exact bytes", World(files={KEY: "half of it"})),
    ("SUCCEEDED without exact bytes", World(rows=(("gen_1", 0, KEY, "another"),))),
    ("SUCCEEDED without exact bytes", World(bills=(replace(BILL, sha256=("digest", "a second")),))),
    ("UNKNOWN not as predicted", World(State.UNKNOWN)),
    ("UNKNOWN not as predicted", World(State.UNKNOWN, calls=())),
    ("UNKNOWN not as predicted", World(State.UNKNOWN, bills=(replace(BILL, tries=()),), webhooks=())),
    ("UNKNOWN not as predicted", replace(UNHEARD, state=State.SUCCEEDED)),
    (ODD, READ),
    (AWAY, READ),  # the work ended, and nothing was written
    (AWAY, replace(READ, lives=DEAD)),  # killed after it had dropped the answer, in the same second
    (AWAY, replace(READ, state=State.SUCCEEDED, webhooks=(("att_1", "done"),))),  # and a callback healed it
    (AWAY, replace(DIED, lives=(Life("generation", PID, 0.0),))),  # still alive, and never wrote it
    (AWAY, replace(DIED, lives=(Life("generation", PID, 0.0, 30.0),))),  # held it on and on
    (AWAY, replace(DIED, lives=(Life("generation", PID + 1, 0.0, 8.6),))),  # another process died
    (AWAY, replace(DIED, pieces=(IN_HAND._replace(pid=PID + 1),))),  # another process had the work in hand
    (AWAY, replace(DIED, pieces=(IN_HAND._replace(subject="gen_2"),))),  # it died with other work in hand
    (AWAY, replace(DIED, pieces=(*DIED.pieces, PIECE._replace(began=8.1)))),  # a later piece dropped it
    (AWAY, replace(READ, pieces=(LATE,))),  # an accepted task needs no lease to be written
    (AWAY, replace(REFUSED, pieces=(LATE,))),  # nor does a refusal
    (AWAY, replace(REFUSED, pieces=(PIECE._replace(how="Unavailable"),))),  # a store that is away is no excuse
    (ODD, replace(DIED, state=State.RUNNING)),
    (ODD, replace(DIED, path=(State.SENDING, State.RUNNING))),
    ("cancels not kept", World(State.CANCELED)),
    ("cancels not kept", World(cancels={"gen_1": True})),
    ("cancels not kept", replace(CANCELED, path=(State.READY, State.DIALING))),
    ("shares lost or doubled", replace(SHARED, shares=())),
    ("shares lost or doubled", replace(SHARED, shares=((KEY, "share_1"), (KEY, "share_2")))),
    ("shares lost or doubled", replace(SHARED, shares=((KEY, "share_2"),))),
    ("shares lost or doubled", World(shares=((KEY, "share_1"),))),
    ("ended otherwise than the provider says", World(State.FAILED)),
    ("ended otherwise than the provider says", World(bills=(replace(BILL, script="fail,ok"),))),
    ("ended otherwise than the provider says", World(State.RESULT_LOST)),
    ("events out of step", World(last_event="STORING")),
]


@pytest.mark.parametrize(("what", "world"), CASES, ids=[f"{number}-{what}" for number, (what, _) in enumerate(CASES)])
def test_a_broken_promise_is_named(what: str, world: World) -> None:
    assert what in world.broken()


def test_a_good_ending_breaks_nothing() -> None:
    assert World().broken() == {}


def test_an_order_of_which_nobody_could_tell_us_is_rightly_unknown() -> None:
    assert UNHEARD.broken() == {}


@pytest.mark.parametrize("world", [DIED, replace(REFUSED, pieces=(IN_HAND,), lives=DEAD)])
def test_an_answer_that_died_with_its_process_is_rightly_unknown(world: World) -> None:
    assert world.broken() == {}


def test_the_kernel_does_not_always_know_who_called() -> None:
    """Its process may be gone before anybody looks; the last piece of work on the generation then tells."""
    nobody = replace(DIED.calls[0], pid=0)

    assert replace(DIED, calls=(nobody,)).broken() == {}


def test_a_second_bill_is_rightful_once_the_owner_has_ordered_again() -> None:
    twice = World(bills=(BILL, replace(BILL, attempt_id="att_2", task_id="other", sha256=())))
    attempts = [row(id=name, generation_id="gen_1", outcome="", task_id=None) for name in ("att_1", "att_2")]

    assert bills_of(twice, attempts, frozenset()) == ["2 bills for gen_1"]
    assert bills_of(twice, attempts, frozenset({"gen_1"})) == []


def bills_of(world: World, attempts: list[Any], retries: frozenset[str]) -> list[str]:
    """What the checker says of the bills, with these attempts."""
    book = Book(retries=set(retries))
    return list(Checker(replace(world._facts(), attempts=attempts), Witness(book, ())).billed_twice())


@pytest.mark.parametrize("world", [CANCELED, SHARED, World(cancels={"gen_1": False})])
def test_a_kept_errand_breaks_nothing(world: World) -> None:
    assert world.broken() == {}


@pytest.mark.parametrize(
    ("body", "spoil", "verdict"),
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
def test_a_witness_believes_only_a_whole_and_certain_answer(
    body: bytes, spoil: Callable[[bytes], bytes], verdict: str
) -> None:
    call = call_of("att_1", body)
    call.answer = bytearray(spoil(bytes(call.answer)))

    assert call.attempt == "att_1"
    assert call.verdict == verdict
