"""An artwork moves only as its table allows, whatever its order comes to."""

from dataclasses import replace
from itertools import product

import pytest

from services.community.model import Artwork, GenerationStatus, Order, OrderState, Request, State
from services.community.model.artworks import MOVES
from services.community.model.orders import ENDED

ORDER = Order("ord_1", "art_1", "ann", Request("a cat", "m"))


@pytest.mark.parametrize(("state", "ended", "key"), list(product(State, OrderState, ["", "generated/old.png"])))
def test_an_order_moves_its_artwork_only_as_the_table_allows(state: State, ended: OrderState, key: str) -> None:
    artwork = Artwork("art_1", "ann", state, "t", "s", object_key=key, order_id="ord_1")

    after = artwork.state_after(replace(ORDER, state=ended))

    assert after is state or after in MOVES[state]
    assert artwork.state_after(replace(ORDER, id="ord_older", state=ended)) is state


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


@pytest.mark.parametrize(("before", "news"), list(product(OrderState, OrderState)))
def test_success_is_final_and_no_older_status_undoes_a_failure(before: OrderState, news: OrderState) -> None:
    after = replace(ORDER, state=before).after(GenerationStatus("gen_1", news)).state

    assert after is (before if before is OrderState.SUCCEEDED else after)
    assert after is (news if news is OrderState.SUCCEEDED else after)
    assert after in ENDED or before not in ENDED


@pytest.mark.parametrize(("before", "news"), list(product(OrderState, OrderState)))
def test_a_repeated_status_changes_nothing(before: OrderState, news: OrderState) -> None:
    status = GenerationStatus("gen_1", news, "task_1", reason="WHY", message="Because.")
    once = replace(ORDER, state=before).after(status)

    assert once.after(status) == once
