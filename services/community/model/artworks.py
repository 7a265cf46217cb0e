"""What an artwork is, its states, and the legal moves between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.community.model.orders import ENDED, Order, OrderState, Quota
from services.community.model.people import Person


class State(StrEnum):
    """Where an artwork stands; the proto's comments explain each."""

    GENERATING = "GENERATING"
    DRAFT = "DRAFT"
    PUBLISHED = "PUBLISHED"
    FAILED = "FAILED"


class HiddenMark(StrEnum):
    """Whether operators hide an artwork; apart from its state, so that showing it again finds the state as it was."""

    SHOWN = "SHOWN"
    HIDDEN = "HIDDEN"


# A state missing on the right can never be reached from the one on the left. FAILED leads to DRAFT when a picture that
# was given up arrives after all, or when its owner saves one in its place.
MOVES: Mapping[State, frozenset[State]] = {
    State.GENERATING: frozenset({State.DRAFT, State.FAILED}),
    State.DRAFT: frozenset({State.PUBLISHED, State.GENERATING}),
    State.PUBLISHED: frozenset({State.DRAFT}),
    State.FAILED: frozenset({State.GENERATING, State.DRAFT}),
}


FRAME_BYTES = 4096  # above what the short fields, an author and an order take


@dataclass(frozen=True)
class Draft:
    """What a new artwork begins with. image_refs are keys of ours or URLs of others."""

    title: str
    prompt: str = ""
    model: str = ""
    aspect_ratio: str = ""
    output_format: str = ""
    image_refs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Artwork:
    """One artwork. The object key is empty while there is no picture; times are epoch ms, 0 for never.

    request_key is unlike every other of its owner: what makes a repeated request find the artwork it made before.
    """

    id: str
    user_id: str
    state: State
    title: str
    slug: str
    object_key: str = ""
    prompt: str = ""
    model: str = ""
    aspect_ratio: str = ""
    output_format: str = ""
    image_refs: tuple[str, ...] = ()
    like_count: int = 0
    favorite_count: int = 0
    hot_score: float = 0.0
    hidden: HiddenMark = HiddenMark.SHOWN
    order_id: str = ""
    request_key: str | None = None
    create_ms: int = 0
    update_ms: int = 0
    publish_ms: int = 0

    @property
    def listed(self) -> bool:
        """True when everybody may see it."""
        return self.state is State.PUBLISHED and self.hidden is HiddenMark.SHOWN

    @property
    def weight(self) -> int:
        """Roughly how many bytes it takes in an answer."""
        texts = (self.prompt, self.title, self.slug, *self.image_refs)
        return sum(len(text.encode()) for text in texts) + FRAME_BYTES

    def visible_to(self, viewer_id: str) -> bool:
        """Whether somebody may find the artwork: in lists, by the id of an order, to react to."""
        return self.listed or (bool(viewer_id) and viewer_id == self.user_id)

    def opens_for(self, viewer_id: str) -> bool:
        """Whether somebody who holds its own id may look at the artwork: a draft is unlisted, not closed.

        Front ends of the second family render pages without a token, those of an owner's drafts too.
        """
        unlisted = self.state is State.DRAFT and self.hidden is HiddenMark.SHOWN
        return unlisted or self.visible_to(viewer_id)

    def takes(self, order: Order) -> bool:
        """Whether the picture of a finished order becomes this artwork's; a published one keeps what people saw."""
        return order.state is OrderState.SUCCEEDED and self.order_id == order.id and self.state is not State.PUBLISHED

    def state_after(self, order: Order) -> State:
        """Where it stands once its order stands there."""
        if self.takes(order):
            return State.DRAFT
        if self.order_id != order.id or order.state not in ENDED or self.state is not State.GENERATING:
            return self.state
        return State.DRAFT if self.object_key else State.FAILED


@dataclass(frozen=True)
class Card:
    """An artwork as somebody sees it: with its author, its latest order and what they think of it."""

    artwork: Artwork
    author: Person
    order: Order | None = None
    liked: bool = False
    favorited: bool = False
    joined: bool = False
    """Whether the request that is answered had been made before."""
    quota: Quota | None = None
    """Where the daily quota of whoever ordered stands now, when the request that is answered was counted."""
