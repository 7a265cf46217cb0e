"""The checker of the community names each promise that is broken on purpose."""

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from services.community.model import Hold, OrderState
from services.generation.model import State
from tests.chaos.artwork_checker import ArtworkChecker, ArtworkView
from tests.chaos.artwork_clients import ArtworkLog, artwork_order_of
from tests.chaos.evidence import Bill, Facts

ORDER = artwork_order_of("seed", 1)
KEY = "generated/gen_1/0.png"
BILL = Bill("task", "att_1", "ok", "success", 1, (200,), ("digest",))
SHOWN = ArtworkView("completed", "", "digest", shown_prompt="")
EXPLAINED = ArtworkView("failed", "It could not be made.", "", shown_prompt="")


def row(**columns: Any) -> Any:
    return SimpleNamespace(**columns)


@dataclass(frozen=True)
class Ending:
    """One order of three credits, by somebody with seven, that ended well; tests change one thing in it."""

    generation: State = State.SUCCEEDED
    state: OrderState = OrderState.SUCCEEDED
    hold: Hold = Hold.CAPTURED
    orders: int = 1
    artworks: tuple[str, ...] = ("art_1",)
    view: ArtworkView = SHOWN
    bills: tuple[Bill, ...] = (BILL,)
    balance: tuple[int, int] = (4, 0)
    entries: tuple[int, ...] = (7, -3, 0)
    known: tuple[str, ...] = ("gen_1",)
    files: dict[str, str] = field(default_factory=lambda: {KEY: "digest"})

    def broken(self) -> list[str]:
        """The promises that the checker finds broken."""
        return [what for what, sentences in self._checker().broken().items() if sentences]

    def _checker(self) -> ArtworkChecker:
        order = row(
            id="ord_1",
            user_id=ORDER.person,
            generation_id="gen_1",
            request=json.dumps(ORDER.body),
            state=self.state,
            hold=self.hold,
            cost=3,
        )
        credits_, held = self.balance
        return ArtworkChecker(
            facts=self._facts(),
            log=ArtworkLog({ORDER.prompt: ORDER}, {ORDER.prompt: "art_1"}),
            artworks={identifier: row(object_key=KEY) for identifier in self.artworks},
            orders=[order] * self.orders,
            balances=[row(user_id=ORDER.person, credits=credits_, held=held)],
            entries=[row(user_id=ORDER.person, amount=amount) for amount in self.entries],
            views={"art_1": self.view},
            initial=7,
        )

    def _facts(self) -> Facts:
        return Facts(
            generations={identifier: row(id=identifier, state=self.generation) for identifier in self.known},
            attempts=[row(id="att_1", generation_id="gen_1")],
            outputs=(),
            inbox=(),
            events=(),
            objects=(),
            files=self.files,
            bills=self.bills,
        )


GOOD = Ending()
FAILED = Ending(
    State.FAILED, OrderState.FAILED, Hold.RELEASED, view=EXPLAINED, balance=(7, 0), entries=(7, -3, 3), files={}
)


@pytest.mark.parametrize(
    "ending", [GOOD, FAILED, replace(FAILED, generation=State.UNKNOWN, state=OrderState.TIMED_OUT)]
)
def test_good_ends_break_nothing(ending: Ending) -> None:
    assert ending.broken() == []


@pytest.mark.parametrize(
    ("ending", "what"),
    [
        (replace(GOOD, artworks=()), "artworks lost or doubled"),
        (replace(GOOD, artworks=("art_1", "art_2")), "artworks lost or doubled"),
        (replace(GOOD, orders=2), "artworks lost or doubled"),
        (replace(GOOD, view=replace(SHOWN, digest="other")), "artworks that show no end"),
        (replace(GOOD, files={}), "artworks that show no end"),
        (replace(GOOD, view=replace(SHOWN, status="generating")), "artworks that show no end"),
        (replace(GOOD, view=replace(SHOWN, shown_prompt="a cat")), "artworks that show no end"),
        (replace(FAILED, view=replace(EXPLAINED, message="")), "artworks that show no end"),
        (replace(GOOD, state=OrderState.RUNNING), "orders that contradict generation"),
        (replace(GOOD, generation=State.UNKNOWN), "orders that contradict generation"),
        (replace(GOOD, known=("gen_1", "gen_2")), "orders that contradict generation"),
        (replace(GOOD, known=()), "orders that contradict generation"),
        (replace(GOOD, bills=(BILL, BILL)), "orders billed twice"),
        (replace(GOOD, bills=(replace(BILL, attempt_id="att_9"),)), "orders billed twice"),
        (replace(GOOD, hold=Hold.HELD, balance=(4, 3)), "credits that do not add up"),
        (replace(GOOD, balance=(7, 0)), "credits that do not add up"),
        (replace(GOOD, entries=(7, -3, 3)), "credits that do not add up"),
        (replace(FAILED, hold=Hold.CAPTURED), "credits that do not add up"),
    ],
)
def test_a_broken_promise_is_named(ending: Ending, what: str) -> None:
    assert what in ending.broken()
