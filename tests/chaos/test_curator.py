"""The curator bites: each promise of the community, broken on purpose, is named."""

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from services.community.model import Hold, OrderState
from services.generation.model import State
from tests.chaos.curator import Curator, Sight
from tests.chaos.facts import Bill, Facts
from tests.chaos.patrons import Accounts, commission_of

WISH = commission_of("seed", 1)
KEY = "generated/gen_1/0.png"
BILL = Bill("task", "att_1", "ok", "success", 1, (200,), ("digest",))
SHOWN = Sight("completed", "", "digest", told="")
EXPLAINED = Sight("failed", "It could not be made.", "", told="")


def row(**columns: Any) -> Any:
    return SimpleNamespace(**columns)


@dataclass(frozen=True)
class World:
    """A good ending, to be spoiled: somebody had seven credits, and one picture of three was made."""

    generation: State = State.SUCCEEDED
    state: OrderState = OrderState.SUCCEEDED
    hold: Hold = Hold.CAPTURED
    orders: int = 1
    artworks: tuple[str, ...] = ("art_1",)
    sight: Sight = SHOWN
    bills: tuple[Bill, ...] = (BILL,)
    balance: tuple[int, int] = (4, 0)
    entries: tuple[int, ...] = (7, -3, 0)
    known: tuple[str, ...] = ("gen_1",)
    files: dict[str, str] = field(default_factory=lambda: {KEY: "digest"})

    def broken(self) -> list[str]:
        """The kinds of promises that the curator finds broken."""
        return [what for what, sentences in self._curator().broken().items() if sentences]

    def _curator(self) -> Curator:
        order = row(
            id="ord_1",
            user_id=WISH.person,
            generation_id="gen_1",
            request=json.dumps(WISH.body),
            state=self.state,
            hold=self.hold,
            cost=3,
        )
        credits_, held = self.balance
        return Curator(
            facts=self._facts(),
            accounts=Accounts({WISH.prompt: WISH}, {WISH.prompt: "art_1"}),
            artworks={identifier: row(object_key=KEY) for identifier in self.artworks},
            orders=[order] * self.orders,
            balances=[row(user_id=WISH.person, credits=credits_, held=held)],
            entries=[row(user_id=WISH.person, amount=amount) for amount in self.entries],
            sights={"art_1": self.sight},
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


GOOD = World()
FAILED = World(
    State.FAILED, OrderState.FAILED, Hold.RELEASED, sight=EXPLAINED, balance=(7, 0), entries=(7, -3, 3), files={}
)


@pytest.mark.parametrize("world", [GOOD, FAILED, replace(FAILED, generation=State.UNKNOWN, state=OrderState.TIMED_OUT)])
def test_good_ends_break_nothing(world: World) -> None:
    assert world.broken() == []


@pytest.mark.parametrize(
    ("world", "what"),
    [
        (replace(GOOD, artworks=()), "artworks lost or doubled"),
        (replace(GOOD, artworks=("art_1", "art_2")), "artworks lost or doubled"),
        (replace(GOOD, orders=2), "artworks lost or doubled"),
        (replace(GOOD, sight=replace(SHOWN, digest="other")), "artworks that show no end"),
        (replace(GOOD, files={}), "artworks that show no end"),
        (replace(GOOD, sight=replace(SHOWN, status="generating")), "artworks that show no end"),
        (replace(GOOD, sight=replace(SHOWN, told="a cat")), "artworks that show no end"),
        (replace(FAILED, sight=replace(EXPLAINED, message="")), "artworks that show no end"),
        (replace(GOOD, state=OrderState.RUNNING), "orders that generation tells otherwise"),
        (replace(GOOD, generation=State.UNKNOWN), "orders that generation tells otherwise"),
        (replace(GOOD, known=("gen_1", "gen_2")), "orders that generation tells otherwise"),
        (replace(GOOD, known=()), "orders that generation tells otherwise"),
        (replace(GOOD, bills=(BILL, BILL)), "orders billed twice"),
        (replace(GOOD, bills=(replace(BILL, attempt_id="att_9"),)), "orders billed twice"),
        (replace(GOOD, hold=Hold.HELD, balance=(4, 3)), "credits that do not add up"),
        (replace(GOOD, balance=(7, 0)), "credits that do not add up"),
        (replace(GOOD, entries=(7, -3, 3)), "credits that do not add up"),
        (replace(FAILED, hold=Hold.CAPTURED), "credits that do not add up"),
    ],
)
def test_a_broken_promise_is_named(world: World, what: str) -> None:
    assert what in world.broken()
