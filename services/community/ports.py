"""What the community needs from the outside; the docstrings are the contract that every adapter keeps.

Every method of a store raises Unavailable when the database is away, and then nothing was changed.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.community.model import (
    After,
    Artwork,
    Balance,
    Card,
    CheckIn,
    Claims,
    Drift,
    Entry,
    Erasure,
    Listing,
    Mark,
    Order,
    Person,
    Reacted,
    Reaction,
    Refused,
    Report,
    Request,
    State,
    Told,
    Unclear,
)

Clock = Callable[[], int]
"""Milliseconds since 1970."""


class BudgetSpentError(Exception):
    """Somebody has done something as often as they may in this hour."""


class CreditsShortError(Exception):
    """An account cannot pay; its balance is as it was."""

    def __init__(self, balance: int) -> None:
        super().__init__(balance)
        self.balance = balance


class Generations(Protocol):
    """Who makes pictures."""

    async def place(self, request: Request, request_id: str) -> Told | Refused | Unclear:
        """Order a picture. However often one request_id is placed, at most one picture is made and billed."""

    async def look(self, generation_id: str) -> Told | Unclear:
        """How a generation stands; FAILED when there is none of this id."""

    def events(self, after: int) -> AsyncIterator[Told]:
        """What becomes of generations, in order, from behind a sequence on, for ever; at least once.

        Raises:
            Unavailable: generation is away.
        """


class Objects(Protocol):
    """Who keeps bytes."""

    async def keep(self, uri: str, name: str) -> str:
        """Copy what a URL names, and return its key. The same URL and name return the same key.

        Raises:
            InvalidArgument, NotFound: there is no picture at this URL, or it may not be opened.
            Unavailable: it cannot be had at the moment.
        """

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is removed. Raises Unavailable."""


class WorkStore(Protocol):
    """Keeps artworks. A card shows what the viewer thinks of it; whether they may see it, the caller decides."""

    async def find(self, artwork_id: str, viewer_id: str) -> Card | None:
        """The artwork with this id."""

    async def find_any(self, identifier: str, viewer_id: str) -> Card | None:
        """The artwork with this id, or the one that was ordered under this generation's or provider's id.

        Its order is then the one that the id names.
        """

    async def find_object(self, user_id: str, object_key: str) -> Card | None:
        """The newest artwork of a person that shows this object."""

    async def find_request(self, user_id: str, request_key: str) -> Card | None:
        """The artwork of a person with this request_key."""

    async def cards(self, artwork_ids: Sequence[str], viewer_id: str) -> dict[str, Card]:
        """Those of the artworks that exist, by id, in one query."""

    async def insert(self, artwork: Artwork) -> Artwork:
        """Keep an artwork with a picture, or return the one of its owner with its request_key."""

    async def change(self, artwork: Artwork, was: State) -> bool:
        """Write an artwork's title, slug, state and first publication, if its state is still the one it was."""

    async def remove(self, artwork_id: str) -> bool:
        """Forget an artwork, everybody's reactions to it, and discard its picture if it is its owner's."""

    async def hide(self, artwork_id: str, *, hidden: bool) -> bool:
        """Hide or show an artwork; False when there is none."""

    async def rank(self, score: float, most: int) -> int:
        """How many listed artworks have a higher score, counted no further than `most`."""

    async def warm(self, now_ms: int, limit: int) -> int:
        """Work out the scores that age has changed by now, at most `limit`; how many there were."""

    async def own(self, object_key: str, user_id: str) -> str:
        """Note whose bytes these are, unless somebody's; return whose they are."""

    async def owner(self, object_key: str) -> str:
        """Whose bytes these are; empty when nobody's."""


class Lists(Protocol):
    """Reads lists of artworks; each page is one query, however many artworks there are."""

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[Mark, ...]:
        """A part of a list, the largest first, behind `after` and without the first `skip`.

        FAVORITES and LIKES leave out what the viewer may not see.
        """

    async def favorites(self, user_id: str, limit: int) -> tuple[str, ...]:
        """Ids of what a person has collected, the latest first."""

    async def relisted(self, user_id: str) -> None:
        """What everybody may see of this person's artworks has changed."""

    async def reacted(self, user_id: str, reaction: Reaction, stands: Reacted) -> None:
        """A person's reaction has changed, and an artwork's counts."""

    async def cooled(self) -> None:
        """Age has changed scores."""


class OrderStore(Protocol):
    """Keeps orders. Each change of one takes its artwork and its credits along, in one transaction."""

    async def open(self, artwork: Artwork, order: Order) -> Artwork:
        """Keep a new artwork and its order, and hold the order's cost; or return the artwork with its request_key.

        Raises:
            CreditsShortError: nothing was kept.
        """

    async def reopen(self, artwork: Artwork, order: Order) -> bool:
        """Keep another order of an artwork, which is GENERATING again; False when it has changed meanwhile.

        Raises:
            CreditsShortError: nothing was kept.
        """

    async def hear(self, told: Told, order_id: str = "") -> Order | None:
        """Believe what generation says of an order, found by its id or by the generation's.

        Of an event, only when its sequence is above every one that was heard, in the same transaction. Events that
        concern nobody here need not move the cursor.

        Returns:
            The order as it is then; None when it is none of ours, or this changed nothing.
        """

    async def withdraw(self, order_id: str) -> None:
        """Forget an order that was never taken: its artwork too, unless it has a picture; give the hold back."""

    async def refuse(self, order_id: str, reason: str, message: str) -> None:
        """End an order that was never taken as FAILED, its artwork too, unless it has a picture; give the hold back."""

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Order]:
        """Orders that are due: not confirmed or long not heard of. Nobody else gets them for so long."""

    async def postpone(self, order_id: str, seconds: float) -> None:
        """Let an order that has not ended be due after so many seconds."""

    async def abandoned(self, order: Order) -> bool:
        """True when the artwork of an order is gone."""

    async def cursor(self) -> int:
        """The sequence of the last event that was heard; 0 when none was."""


class ReactionStore(Protocol):
    """Keeps what people think of artworks; counts change in the transaction that changes a row."""

    async def react(
        self, user_id: str, artwork_id: str, reaction: Reaction, *, wanted: bool, per_hour: int
    ) -> Reacted | None:
        """Make a reaction be there or not be there; None when there is no such artwork, or it is not listed.

        Raises:
            BudgetSpentError: it would be a change, and the person has made `per_hour` of them; 0 counts none.
        """

    async def report(self, given: Report, per_hour: int) -> None:
        """Keep a report; it replaces the person's older one. Raises BudgetSpentError."""

    async def reports(self, limit: int, after: After | None = None) -> tuple[Report, ...]:
        """Reports, the latest first; an After is the time and `artwork_id user_id`."""

    async def reconcile(self, after_id: str, limit: int, *, mend: bool) -> tuple[Drift, str]:
        """Count the reactions of the next artworks; and the id of the last one, empty at the end."""


class PeopleStore(Protocol):
    """Keeps people."""

    async def ensure(self, user_id: str, claims: Claims) -> Person:
        """Keep a person; claims that are not empty replace what was known."""

    async def find(self, user_id: str) -> Person | None:
        """The person with this id."""

    async def privacy(self, user_id: str, *, hide_name: bool | None, hide_email: bool | None) -> Person | None:
        """Set what is not None."""

    async def batch(self, after_id: str, limit: int) -> tuple[str, ...]:
        """Ids of people, in order, behind an id."""

    async def objects(self, user_id: str) -> tuple[str, ...]:
        """Keys of the bytes that are this person's."""

    async def entries(self, user_id: str) -> tuple[Entry, ...]:
        """Their ledger, in order."""

    async def reports(self, user_id: str) -> tuple[Report, ...]:
        """What they reported."""

    async def erase(self, user_id: str, erasure_id: str) -> Erasure:
        """Forget a person and everything of theirs, and discard their bytes; others' counts follow."""

    async def erasure(self, erasure_id: str) -> Erasure | None:
        """A receipt."""


class Bin(Protocol):
    """Bytes that are to be removed, until they are."""

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[str]:
        """Keys that are due. Nobody gets them again for so long."""

    async def empty(self, object_key: str) -> None:
        """The bytes are gone."""


class CreditStore(Protocol):
    """Keeps balances. A new account begins with the initial credits."""

    async def balance(self, user_id: str) -> Balance:
        """What a person has."""

    async def check_in(self, user_id: str, day: int, credits_: int) -> tuple[CheckIn, bool]:
        """Check in on a day, once; the status then, and whether it was the first time."""

    async def last_check_in(self, user_id: str) -> CheckIn:
        """The last one."""


@dataclass(frozen=True)
class Look:
    """What a read model holds: its members, or None when it is not to be believed; and the epoch to write it anew at.

    The epoch is empty while there is nobody to write to.
    """

    members: tuple[str, ...] | None
    epoch: bytes


class ReadModels(Protocol):
    """Lists, sets and numbers by key, shared by the replicas; derived state only. No method raises."""

    written: int
    """Keys that were written anew until now."""

    async def list(self, key: str, count: int) -> Look:
        """The first members of a list."""

    async def ranking(self, key: str, count: int) -> Look:
        """The members of a ranking with the highest scores."""

    async def put_list(self, key: str, members: Sequence[str], epoch: bytes) -> None:
        """Write a list anew, as read at an epoch."""

    async def put_ranking(self, key: str, scores: dict[str, float], epoch: bytes) -> None:
        """Write a ranking anew, as read at an epoch."""

    async def put_set(self, key: str, members: Sequence[str]) -> None:
        """Write a set anew."""

    async def put_number(self, key: str, number: int) -> None:
        """Write a number."""

    async def score(self, key: str, member: str, score: float) -> None:
        """Give a member of a ranking another score, and begin another epoch."""

    async def member(self, key: str, member: str, *, there: bool) -> bool:
        """Put a member into a set, or take it out; False when the set is missing and can be written."""

    async def forget(self, *keys: str) -> None:
        """Begin another epoch: what was read until now is believed no more."""


class Rebuilder(Protocol):
    """Writes read models anew from the rows; each call says how many keys it wrote."""

    async def common(self) -> int:
        """The feed and the ranking."""

    async def of_user(self, user_id: str) -> int:
        """A person's list and set, and the likes of their artworks."""
