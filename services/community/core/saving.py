"""Keeps finished pictures as artworks: those of one's own generations, uploads, and what is found elsewhere."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.chassis.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from services.chassis.names import is_key
from services.chassis.outbound import require_public
from services.community.core import checks
from services.community.core.artworks import Artworks, made
from services.community.core.titles import slug_of, title_of
from services.community.model import Artwork, Card, Draft, State
from services.community.ports import BeingDeletedError, Clock, Objects, WorkStore

COPIES = 3  # of one picture that are made until one is not being deleted; the second has a name that is never reused


@dataclass(frozen=True)
class Save:
    """A finished picture that somebody wants to keep, unchecked."""

    title: str
    image_uri: str
    prompt: str = ""
    model: str = ""
    aspect_ratio: str = ""
    output_format: str = ""
    original_uri: str = ""
    publish: bool = False


class Saving:
    """Makes artworks of pictures. own_key takes the object key out of a URL of ours; else it is empty.

    The address of an input picture must be public by its form, but for the host:port pairs that are allowed.
    """

    def __init__(
        self,
        artworks: Artworks,
        works: WorkStore,
        objects: Objects,
        *,
        own_key: Callable[[str], str],
        clock: Clock,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        self._artworks, self._works, self._objects = artworks, works, objects
        self._own_key, self._clock, self._allowed = own_key, clock, allowed

    async def save(self, viewer_id: str, save: Save) -> Card:
        """Keep a finished picture; the same one again is the same artwork, with the new title.

        Raises:
            Unauthenticated, InvalidArgument.
            PermissionDenied: the picture is somebody else's.
            NotFound, Unavailable: it cannot be had.
        """
        user_id = checks.signed_in(viewer_id)
        title = title_of(checks.required("title", save.title, checks.MAX_TITLE_LENGTH), "")
        artwork = await self._kept(user_id, replace(save, title=title))
        card = await self._artworks.change(user_id, artwork.id, lambda now: _titled(now, title))
        return await self._artworks.publish(user_id, card.artwork.id) if save.publish else card

    async def upload(self, viewer_id: str, object_key: str, title: str, *, draft: bool) -> Card | None:
        """Note whose file it is, and make a draft of it when asked to.

        Raises:
            Unauthenticated, InvalidArgument.
            PermissionDenied: it is somebody else's.
            NotFound: it is being deleted.
        """
        user_id = checks.signed_in(viewer_id)
        given = Draft(title_of(checks.text("title", title, checks.MAX_TITLE_LENGTH), ""))
        try:
            await self._claim(object_key, user_id)
            if not draft:
                return None
            artwork = await self._works.insert(self._drawn(given, user_id, object_key))
        except BeingDeletedError:
            raise _deleted() from None
        return await self._artworks.get(user_id, artwork.id)

    async def _kept(self, user_id: str, save: Save) -> Artwork:
        """The artwork of a picture: the one that shows it already, the one that was saved of it, or a new one."""
        uri = checks.uri("image_uri", checks.required("image_uri", save.image_uri, checks.MAX_URI_LENGTH))
        own = self._own_key(uri)
        if own and (card := await self._works.find_object(user_id, own)):
            return card.artwork
        key = f"source:{hashlib.sha256((own or uri).encode()).hexdigest()}"
        if card := await self._works.find_request(user_id, key):
            return card.artwork
        draft = self._described(save)
        if own and (await self._works.owner(own)) not in ("", user_id):
            raise PermissionDenied("This picture belongs to somebody else.")
        return await (self._shown(uri, draft, user_id, key) if own else self._copied(uri, draft, user_id, key))

    async def _shown(self, uri: str, draft: Draft, user_id: str, key: str) -> Artwork:
        """The artwork of a file of ours; one that belongs to nobody stays nobody's, since a share may show it too."""
        kept = await self._objects.keep(uri, "")
        try:
            return await self._works.insert(self._drawn(draft, user_id, kept, key))
        except BeingDeletedError:
            raise _deleted() from None

    async def _copied(self, uri: str, draft: Draft, user_id: str, key: str) -> Artwork:
        """The artwork of a copy that is its owner's; while the last copy is being deleted, another one is made."""
        for copy in range(COPIES):
            kept = await self._objects.keep(uri, _name_of(user_id, uri, secrets.token_hex(8) if copy else ""))
            try:
                await self._claim(kept, user_id)
                return await self._works.insert(self._drawn(draft, user_id, kept, key))
            except BeingDeletedError:
                await self._works.deleted_again(kept)
        raise Unavailable("The picture is being deleted at this moment. Save it again.", retry_after=1)

    def _described(self, save: Save) -> Draft:
        return Draft(
            title=save.title,
            prompt=checks.text("prompt", save.prompt, checks.MAX_PROMPT_LENGTH),
            model=checks.text("model", save.model, checks.MAX_NAME_LENGTH),
            aspect_ratio=checks.text("aspect_ratio", save.aspect_ratio, checks.MAX_NAME_LENGTH),
            output_format=checks.text("output_format", save.output_format, checks.MAX_NAME_LENGTH),
            image_refs=(self._input(save.original_uri),) if save.original_uri else (),
        )

    def _input(self, given: str) -> str:
        """What is kept of an input picture's URL, which its owner's browser will open: the key when it is ours."""
        uri = checks.uri("original_uri", given)
        key = self._own_key(uri)
        if not key:
            require_public(uri, self._allowed, "original_uri")
        return key or uri

    def _drawn(self, draft: Draft, user_id: str, object_key: str, key: str = "") -> Artwork:
        key = key or f"object:{hashlib.sha256(object_key.encode()).hexdigest()}"
        return made(draft, user_id, self._clock(), state=State.DRAFT, object_key=object_key, key=key)

    async def _claim(self, object_key: str, user_id: str) -> None:
        if not is_key(object_key):
            raise InvalidArgument("object must be objects/ and an object key.", metadata={"field": "object"})
        if await self._works.own(object_key, user_id) != user_id:
            raise PermissionDenied("This file belongs to somebody else.")


def _name_of(user_id: str, uri: str, salt: str) -> str:
    """A file name that two people who save one URL do not share: each owns, and may delete, their own copy.

    Without a salt it is the same each time, so that a save whose answer was lost finds its copy.
    """
    return f"saved_{hashlib.sha256(f'{user_id} {uri}{salt}'.encode()).hexdigest()[:40]}"


def _deleted() -> NotFound:
    return NotFound("This picture has been deleted. Upload it again, or save it from where it came from.")


def _titled(artwork: Artwork, title: str) -> Artwork:
    """Another title; the slug of one that was published stays, since there are links to it."""
    slug = artwork.slug if artwork.publish_ms else slug_of(title, artwork.id)
    return replace(artwork, title=title, slug=slug)
