"""The checker bites: each promise, broken on purpose, is named."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from services.generation.model import State
from tests.chaos.checker import Checker, Witness
from tests.chaos.facts import Bill, Facts
from tests.chaos.orders import Book, scripted
from tests.chaos.proxy import Call

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
TAKEN = b'{"code": 200, "data": {"taskId": "task"}}'
ORDER = scripted("seed", 1, "ok")
KEY = "generated/gen_1/0.png"
BILL = Bill("task", "att_1", "ok", "success", 1, (200,), ("digest",))


def call_of(attempt: str, body: bytes, began: float = 10.0) -> Call:
    asked = bytearray(b'{"callBackUrl":"http://here/api/callback/image-generated/%b.secret"}' % attempt.encode())
    return Call("", 0, began, began + 1, asked, bytearray(ANSWER % (len(body), body)))


@dataclass(frozen=True)
class World:
    """A good ending, to be spoiled."""

    state: State = State.SUCCEEDED
    bills: tuple[Bill, ...] = (BILL,)
    calls: tuple[Call, ...] = (call_of("att_1", TAKEN),)
    strikes: tuple[float, ...] = ()
    files: dict[str, str] = field(default_factory=lambda: {KEY: "digest"})
    rows: tuple[tuple[str, int, str, str], ...] = (("gen_1", 0, KEY, "digest"),)
    webhooks: tuple[tuple[str, str], ...] = (("att_1", "done"),)
    last_event: str = ""
    accepted: str = "gen_1"

    def broken(self) -> dict[str, list[str]]:
        """What the checker says."""
        book = Book({ORDER.prompt: ORDER}, {ORDER.prompt: self.accepted})
        found = Checker(self._facts(), Witness(book, self.calls, self.strikes)).broken()
        return {what: sentences for what, sentences in found.items() if sentences}

    def _facts(self) -> Facts:
        event = f'{{"state":"{self.last_event or self.state}"}}'
        return Facts(
            generations={"gen_1": row(id="gen_1", attempt_id="att_1", state=self.state, draft=ORDER.prompt)},
            attempts=[row(id="att_1", generation_id="gen_1")],
            outputs=[row(generation_id="gen_1", idx=0, key=KEY)],
            inbox=[row(id="cb_1", attempt_id=attempt, verdict=verdict) for attempt, verdict in self.webhooks],
            events=[row(generation_id="gen_1", sequence=1, snapshot=event)],
            objects=[row(generation_id=g, idx=i, key=k, sha256=digest) for g, i, k, digest in self.rows],
            files=self.files,
            bills=self.bills,
        )


def row(**columns: Any) -> Any:
    return SimpleNamespace(reason="", message="", **columns)


UNHEARD = World(State.UNKNOWN, bills=(replace(BILL, tries=()),), calls=(), webhooks=())
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
    (
        "SUCCEEDED without exact bytes",
        World(
            bills=(
                replace(
                    BILL,
                    sha256=("digest", "a second"),
                ),
            )
        ),
    ),
    ("UNKNOWN not as predicted", World(State.UNKNOWN)),
    ("UNKNOWN not as predicted", World(State.UNKNOWN, calls=())),
    ("UNKNOWN not as predicted", World(State.UNKNOWN, bills=(replace(BILL, tries=()),), webhooks=())),
    ("UNKNOWN not as predicted", replace(UNHEARD, state=State.SUCCEEDED)),
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


def test_an_answer_that_died_with_its_reader_is_rightly_unknown() -> None:
    assert replace(UNHEARD, calls=(call_of("att_1", TAKEN),), strikes=(10.5,)).broken() == {}


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
