"""Saves finished pictures as artworks: results of generations, uploads, and pictures by URL."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import NotFound, PermissionDenied, Unavailable, invalid_field
from services.chassis.names import is_key
from services.chassis.outbound import require_public
from services.community.core import validation
from services.community.core.artworks import Artworks, new_artwork, slug_of, title_of
from services.community.model import Artwork, Card, NewArtwork, State
from services.community.ports import ArtworkStore, BeingDeletedError, Objects

COPIES = 3  # of one picture, tried until one is not being deleted; from the second on their names are unique


@dataclass(frozen=True)
class Save:
    """A request to save a finished picture, not validated yet."""

    title: str
    image_uri: str
    prompt: str = ""
    model: str = ""
    aspect_ratio: str = ""
    output_format: str = ""
    original_uri: str = ""
    publish: bool = False


class Saving:
    """Makes artworks of pictures. own_key returns the object key in a URL of ours, empty for other URLs.

    URLs of input pictures must be public by their form, except for the host:port pairs in `allowed`.
    """

    def __init__(
        self,
        database: Database,
        artworks: Artworks,
        artwork_store: ArtworkStore,
        objects: Objects,
        *,
        own_key: Callable[[str], str],
        clock: Clock,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        self._database, self._artworks = database, artworks
        self._artwork_store, self._objects = artwork_store, objects
        self._own_key, self._clock, self._allowed = own_key, clock, allowed

    async def save(self, viewer_id: str, save: Save) -> Card:
        """Save a finished picture; saving it again returns the same artwork, with the new title.

        Raises:
            Unauthenticated, InvalidArgument.
            PermissionDenied: the picture belongs to somebody else.
            NotFound, Unavailable: the picture cannot be fetched.
        """
        user_id = validation.signed_in(viewer_id)
        title = title_of(validation.required("title", save.title, validation.MAX_TITLE_LENGTH), "")
        artwork = await self._kept(user_id, replace(save, title=title))
        card = await self._artworks.change(user_id, artwork.id, lambda now: _titled(now, title))
        return await self._artworks.publish(user_id, card.artwork.id) if save.publish else card

    async def upload(self, viewer_id: str, object_key: str, title: str, *, draft: bool) -> Card | None:
        """Make the viewer the owner of an uploaded object, and make a draft of it if asked to.

        Raises:
            Unauthenticated, InvalidArgument.
            PermissionDenied: it is somebody else's.
            NotFound: the object is being deleted.
        """
        user_id = validation.signed_in(viewer_id)
        given = NewArtwork(title_of(validation.text("title", title, validation.MAX_TITLE_LENGTH), ""))
        try:
            await self._claim(object_key, user_id)
            if not draft:
                return None
            artwork = await self._insert(self._drawn(given, user_id, object_key))
        except BeingDeletedError:
            raise _deleted() from None
        return await self._artworks.get(user_id, artwork.id)

    async def _kept(self, user_id: str, save: Save) -> Artwork:
        """The artwork of a picture: one that shows it already, one that was saved from it, or a new one."""
        uri = validation.uri("image_uri", validation.required("image_uri", save.image_uri, validation.MAX_URI_LENGTH))
        own = self._own_key(uri)
        if own and (card := await self._database.read(self._artwork_store.find_object, user_id, own)):
            return card.artwork
        key = f"source:{hashlib.sha256((own or uri).encode()).hexdigest()}"
        if card := await self._database.read(self._artwork_store.find_request, user_id, key):
            return card.artwork
        new = self._described(save)
        if own and await self._database.read(self._artwork_store.owner, own) not in ("", user_id):
            raise PermissionDenied("This picture belongs to somebody else.")
        return await (self._shown(uri, new, user_id, key) if own else self._copied(uri, new, user_id, key))

    async def _shown(self, uri: str, new: NewArtwork, user_id: str, key: str) -> Artwork:
        """A new artwork of an object of ours; one without an owner stays so, since a share may show it too."""
        kept = await self._objects.keep(uri, "")
        try:
            return await self._insert(self._drawn(new, user_id, kept, key))
        except BeingDeletedError:
            raise _deleted() from None

    async def _copied(self, uri: str, new: NewArtwork, user_id: str, key: str) -> Artwork:
        """A new artwork of a copy that the user owns; while the last copy is being deleted, another one is made."""
        for copy in range(COPIES):
            kept = await self._objects.keep(uri, _name_of(user_id, uri, secrets.token_hex(8) if copy else ""))
            try:
                await self._claim(kept, user_id)
                return await self._insert(self._drawn(new, user_id, kept, key))
            except BeingDeletedError:
                await self._database.write(self._artwork_store.deleted_again, kept)
        raise Unavailable("The picture is being deleted at this moment. Save it again.", retry_after=1)

    def _described(self, save: Save) -> NewArtwork:
        return NewArtwork(
            title=save.title,
            prompt=validation.text("prompt", save.prompt, validation.MAX_PROMPT_LENGTH),
            model=validation.text("model", save.model, validation.MAX_NAME_LENGTH),
            aspect_ratio=validation.text("aspect_ratio", save.aspect_ratio, validation.MAX_NAME_LENGTH),
            output_format=validation.text("output_format", save.output_format, validation.MAX_NAME_LENGTH),
            image_refs=(self._input(save.original_uri),) if save.original_uri else (),
        )

    def _input(self, given: str) -> str:
        """The stored form of an input picture's URL: its object key when it is ours."""
        uri = validation.uri("original_uri", given)
        key = self._own_key(uri)
        if not key:
            require_public(uri, self._allowed, "original_uri")
        return key or uri

    def _drawn(self, new: NewArtwork, user_id: str, object_key: str, key: str = "") -> Artwork:
        key = key or f"object:{hashlib.sha256(object_key.encode()).hexdigest()}"
        return new_artwork(new, user_id, self._clock(), state=State.DRAFT, object_key=object_key, key=key)

    async def _claim(self, object_key: str, user_id: str) -> None:
        if not is_key(object_key):
            raise invalid_field("object", "object must be objects/ and an object key.")
        if await self._database.write(self._artwork_store.own, object_key, user_id) != user_id:
            raise PermissionDenied("This file belongs to somebody else.")

    async def _insert(self, artwork: Artwork) -> Artwork:
        return await self._database.write(self._artwork_store.insert, artwork)


def _name_of(user_id: str, uri: str, salt: str) -> str:
    """A file name by user and URL: each user who saves a URL owns, and may delete, a copy of their own.

    Without a salt the name is always the same, so that a save whose answer was lost finds its copy.
    """
    return f"saved_{hashlib.sha256(f'{user_id} {uri}{salt}'.encode()).hexdigest()[:40]}"


def _deleted() -> NotFound:
    return NotFound("This picture has been deleted. Upload it again, or save it from where it came from.")


def _titled(artwork: Artwork, title: str) -> Artwork:
    """The artwork with another title; a slug that was published stays, since there are links to it."""
    slug = artwork.slug if artwork.publish_ms else slug_of(title, artwork.id)
    return replace(artwork, title=title, slug=slug)
