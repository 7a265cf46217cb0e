"""The artworks as their owners know them: saved, uploaded, published, taken back and deleted."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from services.chassis.names import is_key, new_id
from services.community.core import checks
from services.community.core.titles import slug_of, title_of
from services.community.model import Artwork, Card, Draft, State
from services.community.ports import Clock, Lists, Objects, WorkStore

TRIES = 5  # a change that loses so many races is told so


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


def missing() -> NotFound:
    """The error for what is not there, or not for this caller: the two look the same."""
    return NotFound("There is no such artwork. It may have been deleted.")


def made(draft: Draft, user_id: str, now_ms: int, *, state: State, object_key: str = "", key: str | None) -> Artwork:
    """A new artwork."""
    artwork_id = new_id("art")
    return Artwork(
        id=artwork_id,
        user_id=user_id,
        state=state,
        title=draft.title,
        slug=slug_of(draft.title, artwork_id),
        object_key=object_key,
        prompt=draft.prompt,
        model=draft.model,
        aspect_ratio=draft.aspect_ratio,
        output_format=draft.output_format,
        image_refs=draft.image_refs,
        request_key=key,
        create_ms=now_ms,
        update_ms=now_ms,
    )


class Artworks:
    """What can be done with artworks. own_key takes the object key out of a URL of ours; else it is empty."""

    def __init__(
        self, works: WorkStore, lists: Lists, objects: Objects, *, own_key: Callable[[str], str], clock: Clock
    ) -> None:
        self._works, self._lists, self._objects = works, lists, objects
        self._own_key, self._clock = own_key, clock

    async def get(self, viewer_id: str, artwork_id: str) -> Card:
        """One artwork. Raises NotFound."""
        return _visible(await self._works.find(artwork_id, viewer_id), viewer_id)

    async def find(self, viewer_id: str, identifier: str) -> Card:
        """One artwork by any id that belongs to it. Raises NotFound, InvalidArgument."""
        wanted = checks.required("id", identifier, checks.MAX_NAME_LENGTH)
        return _visible(await self._works.find_any(wanted, viewer_id), viewer_id)

    async def owned(self, viewer_id: str, artwork_id: str) -> Card:
        """One artwork of the viewer's.

        Raises:
            Unauthenticated: nobody is signed in.
            NotFound: there is none that they may know of.
            PermissionDenied: it is somebody else's.
        """
        card = await self.get(checks.signed_in(viewer_id), artwork_id)
        if card.artwork.user_id != viewer_id:
            raise PermissionDenied("This artwork belongs to somebody else.")
        return card

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
        card = await self._changed(user_id, artwork.id, lambda now: self._titled(now, title))
        return await self.publish(user_id, card.artwork.id) if save.publish else card

    async def upload(self, viewer_id: str, object_key: str, title: str, *, draft: bool) -> Card | None:
        """Note whose file it is, and make a draft of it when asked to.

        Raises:
            Unauthenticated, InvalidArgument.
            PermissionDenied: it is somebody else's.
        """
        user_id = checks.signed_in(viewer_id)
        await self._claim(object_key, user_id)
        if not draft:
            return None
        given = Draft(title_of(checks.text("title", title, checks.MAX_TITLE_LENGTH), ""))
        artwork = await self._works.insert(self._drawn(given, user_id, object_key))
        return await self.get(user_id, artwork.id)

    async def publish(self, viewer_id: str, artwork_id: str) -> Card:
        """Show a draft to everybody; the first time of publication stays.

        Raises:
            Unauthenticated, NotFound, PermissionDenied.
            FailedPrecondition: it is being made, or has no picture (reason NOT_PUBLISHABLE).
        """
        await self.owned(viewer_id, artwork_id)
        return await self._changed(viewer_id, artwork_id, self._published)

    async def unpublish(self, viewer_id: str, artwork_id: str) -> Card:
        """Make a draft of it. Raises as publish does."""
        await self.owned(viewer_id, artwork_id)
        return await self._changed(viewer_id, artwork_id, _taken_back)

    async def delete(self, viewer_id: str, artwork_id: str) -> None:
        """Remove it, everybody's reactions and its bytes. Raises Unauthenticated, NotFound, PermissionDenied."""
        card = await self.owned(viewer_id, artwork_id)
        if not await self._works.remove(artwork_id):
            raise missing()
        await self._lists.relisted(card.artwork.user_id)

    async def hide(self, artwork_id: str, *, hidden: bool) -> Card:
        """Hide it from everybody but its owner, or show it again; for operators. Raises NotFound."""
        await self._works.hide(artwork_id, hidden=hidden)
        card = await self._works.find(artwork_id, "")
        if card is None:
            raise missing()
        await self._lists.relisted(card.artwork.user_id)
        return card

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
        kept = own or await self._objects.keep(uri, _name_of(user_id, uri))
        return await self._works.insert(self._drawn(draft, user_id, kept, key))

    def _described(self, save: Save) -> Draft:
        original = save.original_uri and checks.uri("original_uri", save.original_uri)
        return Draft(
            title=save.title,
            prompt=checks.text("prompt", save.prompt, checks.MAX_PROMPT_LENGTH),
            model=checks.text("model", save.model, checks.MAX_NAME_LENGTH),
            aspect_ratio=checks.text("aspect_ratio", save.aspect_ratio, checks.MAX_NAME_LENGTH),
            output_format=checks.text("output_format", save.output_format, checks.MAX_NAME_LENGTH),
            image_refs=(self._own_key(original) or original,) if original else (),
        )

    def _drawn(self, draft: Draft, user_id: str, object_key: str, key: str = "") -> Artwork:
        key = key or f"object:{hashlib.sha256(object_key.encode()).hexdigest()}"
        return made(draft, user_id, self._clock(), state=State.DRAFT, object_key=object_key, key=key)

    async def _claim(self, object_key: str, user_id: str) -> None:
        if not is_key(object_key):
            raise InvalidArgument("object must be objects/ and an object key.", metadata={"field": "object"})
        if await self._works.own(object_key, user_id) != user_id:
            raise PermissionDenied("This file belongs to somebody else.")

    async def _changed(self, viewer_id: str, artwork_id: str, change: Callable[[Artwork], Artwork]) -> Card:
        """Apply a change to the artwork as it is, however often somebody else is faster. Raises NotFound, Aborted."""
        for _ in range(TRIES):
            card = await self.get(viewer_id, artwork_id)
            wanted = change(card.artwork)
            if wanted == card.artwork:
                return card
            if await self._works.change(wanted, card.artwork.state):
                await self._lists.relisted(wanted.user_id)
                return await self.get(viewer_id, artwork_id)
        raise Aborted("The artwork changed meanwhile. Look at it again.")

    def _titled(self, artwork: Artwork, title: str) -> Artwork:
        """Another title; the slug of one that was published stays, since there are links to it."""
        slug = artwork.slug if artwork.publish_ms else slug_of(title, artwork.id)
        return replace(artwork, title=title, slug=slug)

    def _published(self, artwork: Artwork) -> Artwork:
        if artwork.state is State.PUBLISHED:
            return artwork
        if artwork.state is not State.DRAFT or not artwork.object_key:
            raise FailedPrecondition(
                f"This artwork cannot be published: it is {artwork.state} and has no finished picture yet.",
                "NOT_PUBLISHABLE",
            )
        return replace(artwork, state=State.PUBLISHED, publish_ms=artwork.publish_ms or self._clock())


def _name_of(user_id: str, uri: str) -> str:
    """A file name that two people who save one URL do not share: each owns, and may delete, their own copy."""
    return f"saved_{hashlib.sha256(f'{user_id} {uri}'.encode()).hexdigest()[:40]}"


def _taken_back(artwork: Artwork) -> Artwork:
    return replace(artwork, state=State.DRAFT) if artwork.state is State.PUBLISHED else artwork


def _visible(card: Card | None, viewer_id: str) -> Card:
    if card is None or not card.artwork.visible_to(viewer_id):
        raise missing()
    return card
