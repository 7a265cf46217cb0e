"""Users: their profile and privacy, the export of all their data, and their erasure."""

from collections.abc import AsyncIterator
from functools import partial

from services.chassis.database import Database, Transaction
from services.chassis.errors import NotFound
from services.chassis.names import new_id
from services.chassis.outbound import is_public_url
from services.chassis.text import cut, one_line
from services.community.core import validation
from services.community.model import After, Card, Claims, Entry, Erasure, ListEntry, Listing, Report, Shelf, User
from services.community.ports import Lists, UserStore

EXPORT_PAGE = 100  # artworks that are read at once
ExportRecord = User | Card | tuple[Shelf, ListEntry] | str | Entry | Report
"""A record of an export: the user, an artwork, a like or favourite, a file's key, a ledger entry, a report."""


class Users:
    """Reads and changes users. URLs of avatars must be public, except for the host:port pairs in `allowed`."""

    def __init__(
        self, database: Database, store: UserStore, lists: Lists, allowed: frozenset[str] = frozenset()
    ) -> None:
        self._database, self._store, self._lists, self._allowed = database, store, lists, allowed

    async def ensure(self, viewer_id: str, claims: Claims, issue_ms: int = 0) -> User:
        """Store the claims of a verified token. Claims that cannot be stored are left out.

        Raises:
            InvalidArgument: the viewer's id is malformed.
            Unauthenticated: nobody is signed in, or the user was erased after the token was issued (ACCOUNT_ERASED).
        """
        user_id = validation.signed_in(viewer_id)
        picture = claims.picture_uri
        shown = (
            len(picture) <= validation.MAX_URI_LENGTH
            and picture.isprintable()
            and is_public_url(picture, self._allowed)
        )
        kept = Claims(_short(claims.display_name), _short(claims.email), picture if shown else "")
        if unchanged := await self._database.read(self._store.unchanged, user_id, kept, issue_ms):
            return unchanged  # nearly always, without a write
        return await self._database.write(self._store.ensure, user_id, kept, issue_ms)

    async def get(self, user_id: str) -> User:
        """A user. Raises NotFound, InvalidArgument."""
        if found := await self._database.read(self._store.find, validation.user("user_id", user_id)):
            return found
        raise _no_such_user()

    async def privacy(self, viewer_id: str, *, hide_name: bool | None, hide_email: bool | None) -> User:
        """Set the privacy fields that are not None. Raises Unauthenticated, NotFound."""
        user_id = validation.signed_in(viewer_id)
        found = await self._database.write(self._store.privacy, user_id, hide_name=hide_name, hide_email=hide_email)
        if found:
            return found
        raise _no_such_user()

    async def export(self, viewer_id: str) -> AsyncIterator[ExportRecord]:
        """All data of the viewer, the user record first. Raises Unauthenticated, NotFound."""
        user_id = validation.signed_in(viewer_id)
        yield await self.get(user_id)
        async for entry in self._all(Listing(Shelf.OWNER, user_id)):
            yield entry.card
        for shelf in (Shelf.LIKES, Shelf.FAVORITES):
            async for entry in self._all(Listing(shelf, user_id)):
                yield shelf, entry
        for records in (
            await self._database.read(self._store.objects, user_id),
            await self._database.read(self._store.entries, user_id),
            await self._database.read(self._store.reports, user_id),
        ):
            for record in records:
                yield record

    async def erase(self, viewer_id: str) -> Erasure:
        """Erase the viewer; returns the receipt. Raises Unauthenticated."""
        user_id = validation.signed_in(viewer_id)
        receipt = await self._database.write(self._erase, user_id, new_id("era"))
        await self._lists.updated(user_id)
        return receipt

    def _erase(self, transaction: Transaction, user_id: str, erasure_id: str) -> Erasure:
        receipt = self._store.erase(transaction, user_id, erasure_id)
        transaction.after_commit(partial(self._lists.relisted, user_id))
        return receipt

    async def erasure(self, erasure_id: str) -> Erasure:
        """The receipt of an erasure. Raises NotFound."""
        if found := await self._database.read(self._store.erasure, erasure_id):
            return found
        raise NotFound("There is no such receipt.")

    async def _all(self, listing: Listing) -> AsyncIterator[ListEntry]:
        after: After | None = None
        while entries := await self._lists.page(listing, listing.user_id, EXPORT_PAGE, after):
            for entry in entries:
                yield entry
            after = entries[-1].value, entries[-1].card.artwork.id


def _short(words: str) -> str:
    """A name or an address that fits on a line."""
    return cut(one_line(words), validation.MAX_NAME_LENGTH)


def _no_such_user() -> NotFound:
    return NotFound("There is no such person.")
