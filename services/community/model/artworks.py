"""Artworks: their states and legal moves, the lists that hold them, and people's reactions to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.community.model.orders import ENDED, Order, OrderState, Quota
from services.community.model.users import User

After = tuple[float, str]
"""The sort value and the id of the last artwork of the page before."""


class State(StrEnum):
    """The state of an artwork; the proto's comments explain each."""

    GENERATING = "GENERATING"
    DRAFT = "DRAFT"
    PUBLISHED = "PUBLISHED"
    FAILED = "FAILED"


class HiddenMark(StrEnum):
    """Whether operators hide an artwork; apart from its state, so that showing it again finds the state as it was."""

    SHOWN = "SHOWN"
    HIDDEN = "HIDDEN"


# The legal moves: from each state to these and no others. FAILED leads to DRAFT when a picture that
# was given up arrives after all, or when its owner saves one in its place.
MOVES: Mapping[State, frozenset[State]] = {
    State.GENERATING: frozenset({State.DRAFT, State.FAILED}),
    State.DRAFT: frozenset({State.PUBLISHED, State.GENERATING}),
    State.PUBLISHED: frozenset({State.DRAFT}),
    State.FAILED: frozenset({State.GENERATING, State.DRAFT}),
}


FRAME_BYTES = 4096  # above what the short fields, an author and an order take


@dataclass(frozen=True)
class NewArtwork:
    """The fields of a new artwork. image_refs are object keys of ours or URLs of others."""

    title: str
    prompt: str = ""
    model: str = ""
    aspect_ratio: str = ""
    output_format: str = ""
    image_refs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Artwork:
    """One artwork. The object key is empty while there is no picture; times are epoch ms, 0 for never.

    request_key is unique among the artworks of its owner: by it a repeated request finds the artwork that it made.
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
        """True when everybody may see the artwork."""
        return self.state is State.PUBLISHED and self.hidden is HiddenMark.SHOWN

    @property
    def weight(self) -> int:
        """Roughly the bytes of the artwork in a response."""
        texts = (self.prompt, self.title, self.slug, *self.image_refs)
        return sum(len(text.encode()) for text in texts) + FRAME_BYTES

    def visible_to(self, viewer_id: str) -> bool:
        """Whether a viewer may find the artwork in lists and by order ids, and react to it."""
        return self.listed or (bool(viewer_id) and viewer_id == self.user_id)

    def opens_for(self, viewer_id: str) -> bool:
        """Whether a viewer who has the artwork's id may see it: a draft is unlisted, not private.

        Front ends of the second family render pages without a token, those of an owner's drafts too.
        """
        unlisted = self.state is State.DRAFT and self.hidden is HiddenMark.SHOWN
        return unlisted or self.visible_to(viewer_id)

    def takes(self, order: Order) -> bool:
        """Whether the picture of a finished order becomes this artwork's; a published artwork keeps its picture."""
        return order.state is OrderState.SUCCEEDED and self.order_id == order.id and self.state is not State.PUBLISHED

    def state_after(self, order: Order) -> State:
        """The state of the artwork once its order has this state."""
        if self.takes(order):
            return State.DRAFT
        if self.order_id != order.id or order.state not in ENDED or self.state is not State.GENERATING:
            return self.state
        return State.DRAFT if self.object_key else State.FAILED


@dataclass(frozen=True)
class Card:
    """An artwork as a viewer sees it: with its author, its latest order and the viewer's reactions."""

    artwork: Artwork
    author: User
    order: Order | None = None
    liked: bool = False
    favorited: bool = False


@dataclass(frozen=True)
class OrderAnswer:
    """The answer to an order of a picture: its artwork, and what only this answer tells."""

    card: Card
    joined: bool = False
    """Whether an earlier, equal request had ordered it."""
    quota: Quota | None = None
    """The state of the daily quota of the user who ordered, when the order was just counted."""


class Shelf(StrEnum):
    """The kind of a list: which artworks it holds and by what they are ordered."""

    NEWEST = "newest"
    """Published, by time of publication."""
    HOT = "hot"
    """Published, by score."""
    OWNER = "owner"
    """All artworks of a user, by id, which is by time."""
    FINISHED = "finished"
    """A user's drafts and published artworks, by id: without those that failed or are being made."""
    AUTHOR = "author"
    """A user's published artworks, by id."""
    FAVORITES = "favorites"
    """A user's favourites, by time of reaction."""
    LIKES = "likes"
    """A user's likes, by time of reaction."""


@dataclass(frozen=True)
class Listing:
    """A list: its kind, its user, and for HOT the least time and score.

    With a time, `ages` says how many age classes (hotness.AGES) reach back to it; 0 stands for all time.
    """

    shelf: Shelf
    user_id: str = ""
    since_ms: int = 0
    least_score: float = 0.0
    ages: int = 0


@dataclass(frozen=True)
class ListEntry:
    """A card with its sort value in the list."""

    card: Card
    value: float


@dataclass(frozen=True)
class ArtworkPage:
    """A page of a list; the token is empty at the end."""

    cards: tuple[Card, ...]
    next_token: str


class Reaction(StrEnum):
    """A kind of reaction to an artwork."""

    LIKE = "like"
    FAVORITE = "favorite"


class Action(StrEnum):
    """An action that is limited per hour."""

    LIKE = "like"
    FAVORITE = "favorite"
    REPORT = "report"


@dataclass(frozen=True)
class Reacted:
    """The counts of an artwork and the reactions of a user after a change, or after none."""

    artwork_id: str
    like_count: int = 0
    favorite_count: int = 0
    liked: bool = False
    favorited: bool = False
    hot_score: float = 0.0
    changed: bool = False


@dataclass(frozen=True)
class Drift:
    """The differences between counts and rows: their sum, and the artworks concerned."""

    looked_at: int
    amount: int
    artwork_ids: tuple[str, ...]
