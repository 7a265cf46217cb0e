"""The ports of the community; their docstrings are the contract of every adapter.

The methods of a store are functions on a transaction that core opens. Each may be run again in another transaction,
and has no effect but by its statements and its notices for after the commit.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from services.chassis.database import Transaction
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
    GenerationStatus,
    ListEntry,
    Listing,
    Order,
    QueuedDeletion,
    Reacted,
    Reaction,
    Refused,
    Report,
    Request,
    State,
    Unclear,
    UnreadableEvent,
    User,
)


class Generations(Protocol):
    """The generation service."""

    async def place(
        self, request: Request, request_id: str, quota_subjects: Sequence[str] = ()
    ) -> GenerationStatus | Refused | Unclear:
        """Order a picture, counted for these quota subjects. A repeated request_id is made and billed once."""

    async def get(self, generation_id: str) -> GenerationStatus | Unclear:
        """The status of a generation; FAILED when there is none of this id."""

    async def find(self, request_id: str) -> GenerationStatus | Unclear | None:
        """The status of the generation that a request made; None when it made none."""

    async def forget(self, generation_id: str) -> None:
        """Have a generation's prompt and input pictures removed; an unknown one is fine.

        Raises:
            Unavailable: generation is unavailable, or still needs them.
        """

    def events(self, after: int) -> AsyncIterator[GenerationStatus | UnreadableEvent]:
        """The events of generations after a sequence, in order, endlessly; at least once.

        Raises:
            Unavailable: generation is unavailable.
        """


class Objects(Protocol):
    """The storage service."""

    async def keep(self, uri: str, name: str) -> str:
        """Copy the picture of a URL; returns its key, each time the same. An object of ours is not copied.

        Raises:
            InvalidArgument, NotFound: there is no picture at this URL, or the URL is not allowed.
            Unavailable: the picture cannot be fetched at the moment.
        """

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is fine. Raises Unavailable."""


class BeingDeletedError(Exception):
    """The deletion of an object has begun: its key is never referred to again."""


class ArtworkStore(Protocol):
    """Stores artworks. A card holds the viewer's reactions; callers decide whether the viewer may see it."""

    def find(self, transaction: Transaction, artwork_id: str, viewer_id: str) -> Card | None:
        """The artwork with this id."""

    def find_any(self, transaction: Transaction, identifier: str, viewer_id: str) -> Card | None:
        """The artwork with this id, or the one that was ordered under this generation's or provider's id.

        The card then holds the order that the id names.
        """

    def find_object(self, transaction: Transaction, user_id: str, object_key: str) -> Card | None:
        """The newest artwork of a user that shows this object."""

    def find_request(self, transaction: Transaction, user_id: str, request_key: str) -> Card | None:
        """The artwork of a user with this request_key."""

    def cards(self, transaction: Transaction, artwork_ids: Sequence[str], viewer_id: str) -> dict[str, Card]:
        """Those of the artworks that exist, by id, in one query."""

    def insert(self, transaction: Transaction, artwork: Artwork) -> Artwork:
        """Insert an artwork with a picture, or return the owner's artwork with its request_key.

        The object leaves the deletion queue in the same transaction. If an older artwork is returned, the new object
        is queued for deletion when the user owns it and no artwork shows it.

        Raises:
            BeingDeletedError: nothing was stored; the object is deleted, or being deleted.
        """

    def change(self, transaction: Transaction, artwork: Artwork, was: State) -> bool:
        """Update an artwork's title, slug, state and first publication, if its state is still `was`."""

    def remove(self, transaction: Transaction, artwork_id: str) -> bool:
        """Delete an artwork and all reactions to it, and queue its object for deletion if its owner owns that."""

    def hide(self, transaction: Transaction, artwork_id: str, *, hidden: bool) -> bool:
        """Hide or show an artwork; False when there is none."""

    def rank(self, transaction: Transaction, score: float, most: int) -> int:
        """The number of listed artworks with a higher score, counted up to `most`."""

    def top_scores(self, transaction: Transaction, most: int) -> tuple[float, ...]:
        """The scores of at most `most` listed artworks, the highest first."""

    def decay_scores(self, transaction: Transaction, now_ms: int, limit: int) -> int:
        """Recompute at most `limit` scores and age classes that are due; returns their number."""

    def own(self, transaction: Transaction, object_key: str, user_id: str) -> str:
        """Make a user the owner of an object without one; returns its owner, for whom it leaves the deletion queue.

        Raises:
            BeingDeletedError: the object is deleted, or being deleted.
        """

    def owner(self, transaction: Transaction, object_key: str) -> str:
        """The owner of an object; empty when there is none."""

    def deleted_again(self, transaction: Transaction, object_key: str) -> None:
        """Queue a key for deletion again under which storage has put bytes after its deletion."""


class Lists(Protocol):
    """Reads lists of artworks; each page is one query, however many artworks there are.

    Read models of the lists are derived from the rows. Without them reads cost more, and answer the same. `relisted`,
    `reacted` and `scores_decayed` begin an update of them on the event loop: they are notices for after the commit of
    the change, and what they begin ends even if the caller leaves.
    """

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[ListEntry, ...]:
        """A page of a list, the largest first, after `after` and without the first `skip`.

        FAVORITES and LIKES leave out artworks that the viewer may not see.

        Raises:
            Unavailable: the database is away.
        """

    def relisted(self, user_id: str) -> None:
        """Begin to invalidate the lists of a user's published artworks."""

    def reacted(self, user_id: str, reaction: Reaction, result: Reacted) -> None:
        """Begin to update the lists for a user's changed reaction."""

    def scores_decayed(self) -> None:
        """Begin to invalidate the lists that are ordered by score."""

    async def updated(self, user_id: str) -> None:
        """Wait until the updates that have begun for a user have ended, so that the next page shows the change."""

    async def rebuild_common(self) -> int:
        """Rebuild the read models of the feed and the ranking from the rows; returns the number of keys written."""

    async def rebuild_of_user(self, user_id: str) -> int:
        """Rebuild the list and the set of a user, and the likes of their artworks; returns the number of keys."""


class NotListedError(Exception):
    """An artwork is its owner's alone at the moment."""


class BudgetSpentError(Exception):
    """A user has used up an action's limit of this hour."""


class ReactionStore(Protocol):
    """Stores reactions; counts change in the transaction that changes a row."""

    def react(
        self,
        transaction: Transaction,
        user_id: str,
        artwork_id: str,
        reaction: Reaction,
        *,
        wanted: bool,
        per_hour: int,
    ) -> Reacted | None:
        """Add or remove a reaction; None when there is no such artwork that the user may see.

        Raises:
            NotListedError: it would be added to the user's own artwork, which others may not see.
            BudgetSpentError: this would change a row, and the user has made `per_hour` changes; 0 means no limit.
        """

    def report(self, transaction: Transaction, given: Report, per_hour: int) -> bool:
        """Store a report, which replaces the user's older one; False when there is no such artwork.

        Raises:
            BudgetSpentError: the user has made `per_hour` reports; 0 means no limit.
        """

    def reports(self, transaction: Transaction, limit: int, after: After | None = None) -> tuple[Report, ...]:
        """Reports, the latest first; an After is the time and `artwork_id user_id`."""

    def reconcile(self, transaction: Transaction, after_id: str, limit: int, *, mend: bool) -> tuple[Drift, str]:
        """Compare the counts of the next artworks with their rows; the drift, and the last id, empty at the end."""


class CreditsShortError(Exception):
    """An account has too few credits; its balance is unchanged."""

    def __init__(self, balance: int) -> None:
        super().__init__(balance)
        self.balance = balance


class OrderStore(Protocol):
    """Stores orders. An order, its artwork and its credits change in one transaction."""

    def open(self, transaction: Transaction, artwork: Artwork, order: Order) -> Artwork:
        """Insert a new artwork and its order, and hold the order's cost; or return the artwork with its request_key.

        Raises:
            CreditsShortError: nothing was stored.
        """

    def requested(self, transaction: Transaction, user_id: str, request_key: str) -> Order | None:
        """The order of a user's request_key, also when its artwork is deleted; None when there is none."""

    def reopen(self, transaction: Transaction, artwork: Artwork, order: Order) -> bool:
        """Insert another order of an artwork, which is GENERATING again; False when the artwork has changed meanwhile.

        If it changed by an order with the same request_key, `requested` finds that.

        Raises:
            CreditsShortError: nothing was stored.
        """

    def concerns(self, transaction: Transaction, status: GenerationStatus) -> bool:
        """True when an event must be applied: to an order of ours, or now and then to move the cursor."""

    def apply(self, transaction: Transaction, status: GenerationStatus, order_id: str = "") -> Order | None:
        """Apply the status of a generation to its order, found by the order's id or the generation's.

        An event is applied only if its sequence is above the cursor, which moves in the same transaction.

        Returns:
            The changed order; None when it is not ours, or nothing changed.
        """

    def withdraw(self, transaction: Transaction, order_id: str) -> None:
        """Delete an order that was never taken, and its artwork; release the hold."""

    def refuse(self, transaction: Transaction, order_id: str, reason: str, message: str) -> None:
        """End an order that was never taken as FAILED, its artwork too, unless that has a picture; release the hold."""

    def claim(self, transaction: Transaction, limit: int, lease_seconds: float) -> Sequence[Order]:
        """Lease orders that are due; no other caller gets them for lease_seconds."""

    def postpone(self, transaction: Transaction, order_id: str, seconds: float) -> None:
        """Make an order due after so many seconds; one that has ended is never due."""

    def delay(self, transaction: Transaction, order_id: str, seconds: float) -> None:
        """Make an order due after so many seconds, also one that has ended."""

    def pass_over(self, transaction: Transaction, status: GenerationStatus | UnreadableEvent) -> None:
        """Skip an event; its order is due at once instead, unless it has SUCCEEDED."""

    def give_up(self, transaction: Transaction, order_id: str, message: str) -> None:
        """End an order at which our own code fails as TIMED_OUT (reason PARKED); release the hold."""

    def revive(self, transaction: Transaction, order_id: str) -> None:
        """Make an order due that was given up, if its artwork still waits for it."""

    def abandoned(self, transaction: Transaction, order: Order) -> bool:
        """True when the artwork of an order was deleted."""

    def cursor(self, transaction: Transaction) -> int:
        """The sequence of the last consumed event; 0 when there was none."""


class CreditStore(Protocol):
    """Stores balances. A new account begins with the initial credits."""

    def balance(self, transaction: Transaction, user_id: str) -> Balance | None:
        """The balance of a user; None when there is no account yet."""

    def open_account(self, transaction: Transaction, user_id: str) -> Balance:
        """Make sure that a user has an account; its balance."""

    def check_in(self, transaction: Transaction, user_id: str, day: int, credits_: int) -> tuple[CheckIn, bool]:
        """Check in on a day; the status, and whether it was the first check-in of that day."""

    def last_check_in(self, transaction: Transaction, user_id: str) -> CheckIn:
        """The last check-in of a user."""


class UserStore(Protocol):
    """Stores users."""

    def unchanged(self, transaction: Transaction, user_id: str, claims: Claims, issue_ms: int = 0) -> User | None:
        """The user, if all claims that are not empty are stored already. Raises as `ensure` does."""

    def ensure(self, transaction: Transaction, user_id: str, claims: Claims, issue_ms: int = 0) -> User:
        """Insert or update a user; claims that are not empty replace stored ones.

        Raises:
            Unauthenticated: the user was erased, and the token was not issued later (reason ACCOUNT_ERASED).
        """

    def find(self, transaction: Transaction, user_id: str) -> User | None:
        """The user with this id."""

    def privacy(
        self, transaction: Transaction, user_id: str, *, hide_name: bool | None, hide_email: bool | None
    ) -> User | None:
        """Set the fields that are not None."""

    def batch(self, transaction: Transaction, after_id: str, limit: int) -> tuple[str, ...]:
        """Ids of users after an id, in order."""

    def objects(self, transaction: Transaction, user_id: str) -> tuple[str, ...]:
        """Keys of the objects that a user owns."""

    def entries(self, transaction: Transaction, user_id: str) -> tuple[Entry, ...]:
        """The ledger entries of a user, in order."""

    def reports(self, transaction: Transaction, user_id: str) -> tuple[Report, ...]:
        """The reports of a user."""

    def erase(self, transaction: Transaction, user_id: str, erasure_id: str) -> Erasure:
        """Erase a user with all their data, and queue their objects for deletion; counts of others are adjusted."""

    def erasure(self, transaction: Transaction, erasure_id: str) -> Erasure | None:
        """The receipt of an erasure."""


class DeletionQueue(Protocol):
    """The deletion queue: objects for storage to delete and generations to forget."""

    def claim(self, transaction: Transaction, limit: int, lease_seconds: float) -> Sequence[QueuedDeletion]:
        """Lease entries that are due, which are DELETING from now on; no other caller gets them for lease_seconds."""

    def complete(self, transaction: Transaction, deletion: QueuedDeletion) -> None:
        """Note that a deletion is done. An object's key is kept for a while, so that nobody refers to it again."""

    def postpone(self, transaction: Transaction, deletion: QueuedDeletion, seconds: float) -> None:
        """Make an entry due after so many seconds."""

    def purge(self, transaction: Transaction) -> int:
        """Delete a batch of old entries of deleted objects; returns their number."""
