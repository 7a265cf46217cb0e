"""Artworks: reading, publishing, unpublishing, hiding and deleting them; their titles and slugs.

A slug is a path segment in any script, never empty and always unique.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from services.chassis.clock import Clock
from services.chassis.database import Database, Transaction
from services.chassis.errors import Aborted, FailedPrecondition, NotFound, PermissionDenied
from services.chassis.names import new_id
from services.chassis.text import cut, one_line, words
from services.community.core import validation
from services.community.model import Artwork, Card, NewArtwork, State
from services.community.model.artworks import MOVES
from services.community.ports import ArtworkStore, Lists

TRIES = 5  # of a change; after so many lost races it is Aborted
TITLE_LENGTH = 50  # of a title that is the beginning of a prompt (docs/rest.md#artwork-orders)
SLUG_LENGTH = 60  # of the readable part
TAIL_LENGTH = 10  # of the artwork's id, fifty random bits: two artworks of one title differ
UNTITLED = "Untitled"


def no_such_artwork() -> NotFound:
    """The error of an artwork that does not exist or is not visible to the caller: the two look the same."""
    return NotFound("There is no such artwork. It may have been deleted.")


def new_artwork(
    new: NewArtwork, user_id: str, now_ms: int, *, state: State, object_key: str = "", key: str | None
) -> Artwork:
    """An artwork with a new id, a slug, and these fields."""
    artwork_id = new_id("art")
    return Artwork(
        id=artwork_id,
        user_id=user_id,
        state=state,
        title=new.title,
        slug=slug_of(new.title, artwork_id),
        object_key=object_key,
        prompt=new.prompt,
        model=new.model,
        aspect_ratio=new.aspect_ratio,
        output_format=new.output_format,
        image_refs=new.image_refs,
        request_key=key,
        create_ms=now_ms,
        update_ms=now_ms,
    )


class Artworks:
    """Reads and changes artworks."""

    def __init__(self, database: Database, artwork_store: ArtworkStore, lists: Lists, clock: Clock) -> None:
        self._database, self._artwork_store, self._lists, self._clock = database, artwork_store, lists, clock

    async def get(self, viewer_id: str, artwork_id: str) -> Card:
        """One artwork by its own id, which opens a draft to whoever holds the id. Raises NotFound."""
        card = await self._database.read(self._artwork_store.find, artwork_id, viewer_id)
        if card is None or not card.artwork.opens_for(viewer_id):
            raise no_such_artwork()
        return card

    async def listed(self, viewer_id: str, artwork_id: str) -> Card:
        """One artwork that the viewer may react to: theirs, or a published one. Raises NotFound."""
        return _visible(await self._database.read(self._artwork_store.find, artwork_id, viewer_id), viewer_id)

    async def find(self, viewer_id: str, identifier: str) -> Card:
        """One artwork by any id that belongs to it. Raises NotFound, InvalidArgument."""
        wanted = validation.required("id", identifier, validation.MAX_NAME_LENGTH)
        return _visible(await self._database.read(self._artwork_store.find_any, wanted, viewer_id), viewer_id)

    async def owned(self, viewer_id: str, artwork_id: str) -> Card:
        """One artwork of the viewer's.

        Raises:
            Unauthenticated: nobody is signed in.
            NotFound: there is none that is visible to the viewer.
            PermissionDenied: the artwork belongs to somebody else.
        """
        card = await self.listed(validation.signed_in(viewer_id), artwork_id)
        if card.artwork.user_id != viewer_id:
            raise PermissionDenied("This artwork belongs to somebody else.")
        return card

    async def publish(self, viewer_id: str, artwork_id: str) -> Card:
        """Publish a draft; the time of the first publication stays.

        Raises:
            Unauthenticated, NotFound, PermissionDenied.
            FailedPrecondition: the picture is being made, or there is none (reason NOT_PUBLISHABLE).
        """
        await self.owned(viewer_id, artwork_id)
        return await self.change(viewer_id, artwork_id, self._published)

    async def unpublish(self, viewer_id: str, artwork_id: str) -> Card:
        """Make an artwork a draft again. Raises as publish does."""
        await self.owned(viewer_id, artwork_id)
        return await self.change(viewer_id, artwork_id, _unpublished)

    async def delete(self, viewer_id: str, artwork_id: str) -> None:
        """Delete an artwork, all reactions to it and its bytes. Raises Unauthenticated, NotFound, PermissionDenied."""
        card = await self.owned(viewer_id, artwork_id)
        if not await self._database.write(self._remove, card.artwork):
            raise no_such_artwork()
        await self._lists.updated(card.artwork.user_id)

    async def hide(self, artwork_id: str, *, hidden: bool) -> Card:
        """Hide an artwork from everybody but its owner, or show it again; for operators. Raises NotFound."""
        card = await self._database.write(self._hide, artwork_id, hidden=hidden)
        if card is None:
            raise no_such_artwork()
        await self._lists.updated(card.artwork.user_id)
        return card

    async def change(self, viewer_id: str, artwork_id: str, change: Callable[[Artwork], Artwork]) -> Card:
        """Apply a change to an artwork, again when another writer was faster. Raises NotFound, Aborted."""
        for _ in range(TRIES):
            card = await self.get(viewer_id, artwork_id)
            wanted = change(card.artwork)
            if wanted == card.artwork:
                return card
            if await self._database.write(self._change, wanted, card.artwork.state):
                await self._lists.updated(wanted.user_id)
                return await self.get(viewer_id, artwork_id)
        raise Aborted("The artwork changed meanwhile. Look at it again.")

    def _remove(self, transaction: Transaction, artwork: Artwork) -> bool:
        removed = self._artwork_store.remove(transaction, artwork.id)
        if removed:
            self._relist(transaction, artwork.user_id)
        return removed

    def _hide(self, transaction: Transaction, artwork_id: str, *, hidden: bool) -> Card | None:
        self._artwork_store.hide(transaction, artwork_id, hidden=hidden)
        card = self._artwork_store.find(transaction, artwork_id, "")
        if card:
            self._relist(transaction, card.artwork.user_id)
        return card

    def _change(self, transaction: Transaction, wanted: Artwork, was: State) -> bool:
        changed = self._artwork_store.change(transaction, wanted, was)
        if changed:
            self._relist(transaction, wanted.user_id)
        return changed

    def _relist(self, transaction: Transaction, user_id: str) -> None:
        transaction.after_commit(partial(self._lists.relisted, user_id))

    def _published(self, artwork: Artwork) -> Artwork:
        if artwork.state is State.PUBLISHED:
            return artwork
        if State.PUBLISHED not in MOVES[artwork.state] or not artwork.object_key:
            raise FailedPrecondition(
                f"This artwork cannot be published: it is {artwork.state} and has no finished picture yet.",
                "NOT_PUBLISHABLE",
            )
        return replace(artwork, state=State.PUBLISHED, publish_ms=artwork.publish_ms or self._clock())


def _unpublished(artwork: Artwork) -> Artwork:
    return replace(artwork, state=State.DRAFT) if artwork.state is State.PUBLISHED else artwork


def _visible(card: Card | None, viewer_id: str) -> Card:
    if card is None or not card.artwork.visible_to(viewer_id):
        raise no_such_artwork()
    return card


def title_of(title: str, prompt: str) -> str:
    """The title on one line; else the beginning of the prompt; else UNTITLED."""
    given = one_line(title) or cut(one_line(prompt), TITLE_LENGTH)
    return given or UNTITLED


def for_others(artwork: Artwork) -> Artwork:
    """The artwork with a title and slug that tell nothing of its prompt, unless everybody may see it.

    A title that its owner wrote stays; one that repeats the beginning of the prompt gives way to model and day.
    """
    title, prompt = one_line(artwork.title), one_line(artwork.prompt)
    if artwork.listed or not prompt.startswith(title):
        return artwork
    day = datetime.fromtimestamp(artwork.create_ms / 1000, UTC).date().isoformat()
    return replace(artwork, title=f"{artwork.model or UNTITLED} · {day}", slug=artwork.id)


def slug_of(title: str, artwork_id: str) -> str:
    """Letters and digits of any script with hyphens, and the end of the id; the id alone for a title of symbols."""
    plain = cut("-".join(words(unicodedata.normalize("NFKC", title).lower())), SLUG_LENGTH).strip("-")
    return f"{plain}-{artwork_id[-TAIL_LENGTH:]}" if plain else artwork_id
