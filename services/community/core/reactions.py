"""Likes, favourites and reports: each counted once, and limited per hour."""

from functools import partial

from services.chassis.clock import Clock
from services.chassis.database import Database, Transaction
from services.chassis.errors import FailedPrecondition, ResourceExhausted
from services.community import metrics
from services.community.core import validation
from services.community.core.artworks import Artworks, no_such_artwork
from services.community.model import Reacted, Reaction, Report
from services.community.model.hotness import HOUR_MS
from services.community.ports import BudgetSpentError, Lists, NotListedError, ReactionStore


class Reactions:
    """Adds and removes reactions. per_hour bounds the changes of a user by kind; 0 means no bound."""

    def __init__(
        self,
        database: Database,
        artworks: Artworks,
        store: ReactionStore,
        lists: Lists,
        *,
        per_hour: int,
        clock: Clock,
    ) -> None:
        self._database, self._artworks, self._store, self._lists = database, artworks, store, lists
        self._per_hour, self._clock = per_hour, clock

    async def react(self, viewer_id: str, artwork_id: str, reaction: Reaction, *, wanted: bool) -> Reacted:
        """Add or remove a reaction; repeating it changes nothing.

        Raises:
            Unauthenticated, NotFound.
            FailedPrecondition: the artwork is the viewer's own draft (reason NOT_PUBLISHED).
            ResourceExhausted: the viewer has made per_hour changes in this hour.
        """
        user_id = validation.signed_in(viewer_id)
        try:
            reacted = await self._database.write(self._react, user_id, artwork_id, reaction, wanted=wanted)
        except NotListedError:
            sentence = "Only a published artwork can be liked. Publish it first."
            raise FailedPrecondition(sentence, "NOT_PUBLISHED") from None
        except BudgetSpentError:
            raise self._spent() from None
        if reacted is None:
            raise no_such_artwork()
        await self._lists.updated(user_id)
        return reacted

    def _react(
        self, transaction: Transaction, user_id: str, artwork_id: str, reaction: Reaction, *, wanted: bool
    ) -> Reacted | None:
        reacted = self._store.react(transaction, user_id, artwork_id, reaction, wanted=wanted, per_hour=self._per_hour)
        if reacted and reacted.changed:
            transaction.after_commit(partial(metrics.reacted, reaction, wanted=wanted))
            transaction.after_commit(partial(self._lists.reacted, user_id, reaction, reacted))
        return reacted

    async def report(self, viewer_id: str, artwork_id: str, reason: str) -> None:
        """Report an artwork to the operators. Raises Unauthenticated, NotFound, InvalidArgument, ResourceExhausted."""
        user_id = validation.signed_in(viewer_id)
        await self._artworks.get(user_id, artwork_id)
        words = validation.required("reason", reason, validation.MAX_REASON_LENGTH)
        try:
            report = Report(artwork_id, user_id, words, create_ms=self._clock())
            there = await self._database.write(self._store.report, report, self._per_hour)
        except BudgetSpentError:
            raise self._spent() from None
        if not there:
            raise no_such_artwork()

    def _spent(self) -> ResourceExhausted:
        left = (HOUR_MS - self._clock() % HOUR_MS) / 1000
        return ResourceExhausted("That was often enough for this hour. Come back later.", retry_after=left)
