"""The shares as callers know them: made once per picture, listed by policy, published and deleted with their token."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

from services.chassis.errors import NotFound, PermissionDenied
from services.chassis.names import new_id
from services.chassis.outbound import require_public
from services.share import seo
from services.share.core import checks, pages
from services.share.model import Draft, Links, Page, Policy, Query, Share, Stats, View
from services.share.ports import Clock, ShareStore

DEFAULT_PAGE_SIZE = 20  # docs/rest.md#share-lists
LATEST_SIZE = 12  # docs/rest.md#latest-shares
BLOCK_SIZE = 50_000  # what a sitemap file may hold; sequences only grow, so a full block changes no more
TOKEN_BYTES = 16  # as many random bits as a random UUID has; nobody guesses it
T = TypeVar("T")


def new_token() -> str:
    """A publish token that cannot be guessed."""
    return f"ptk_{secrets.token_urlsafe(TOKEN_BYTES)}"


def digest_of(token: str) -> str:
    """What is kept of a token: it tells a right one from a wrong one and nothing else."""
    return hashlib.sha256(token.encode()).hexdigest()


class Shares:
    """Everything that can be done with shares. Every method may raise Unavailable.

    own_key takes the object key out of a URL of ours; it is empty for the URLs of others. Those must be public by their
    form, but for the host:port pairs that are allowed.
    """

    def __init__(
        self,
        store: ShareStore,
        policy: Policy,
        *,
        own_key: Callable[[str], str],
        clock: Clock,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        self._store, self._policy, self._own_key, self._clock = store, policy, own_key, clock
        self._allowed = allowed

    async def create(self, draft: Draft) -> tuple[Share, str]:
        """Share a picture and return its token; a picture shared before returns that share and no token.

        Raises:
            InvalidArgument: the draft cannot be taken.
        """
        share, token = self._made(draft), new_token()
        kept = await self._store.insert(share, digest_of(token))
        return kept, token if kept.id == share.id else ""

    async def get(self, share_id: str) -> Share:
        """One share, listed or not.

        Raises:
            NotFound: there is none.
        """
        return _existing(await self._store.find(share_id))

    async def batch(self, share_ids: Sequence[str]) -> tuple[Share, ...]:
        """Those that exist, in the order asked.

        Raises:
            InvalidArgument: more than MAX_BATCH were asked, or more than fit into one message.
        """
        checks.batch(len(share_ids))
        found = await self._store.batch(share_ids)
        asked = tuple(found[share_id] for share_id in share_ids if share_id in found)
        checks.weight(len(pages.fitting(asked)), len(asked))
        return asked

    async def list(self, query: Query) -> Page:
        """A page of the gallery, newest first.

        Raises:
            InvalidArgument: the query cannot be answered.
        """
        view = View(self._policy, *checks.facet(query))
        size = checks.page_size(query.page_size, DEFAULT_PAGE_SIZE)
        before, skip = pages.sequence_of(view, query.page_token), checks.skip(query.skip)
        found = await self._store.page(view, limit=size + 1, before=before, skip=skip)
        shown = pages.fitting(found[:size])
        next_token = pages.token(view, shown[-1].sequence) if len(found) > len(shown) else ""
        return Page(shown, next_token, await self._store.total(view))

    async def links(self, block: int) -> Links:
        """The listed shares whose sequence lies in one block, oldest first: what one sitemap file holds.

        Raises:
            InvalidArgument: block is negative.
        """
        checks.block(block)
        view, after = View(self._policy), block * BLOCK_SIZE
        blocks = -(-await self._store.last_sequence(view) // BLOCK_SIZE)
        return Links(await self._store.links(view, after, after + BLOCK_SIZE) if block < blocks else (), blocks)

    async def latest(self, page_size: int) -> tuple[Share, ...]:
        """The shares whose pictures were made last, newest first.

        Raises:
            InvalidArgument: page_size is negative.
        """
        size = checks.page_size(page_size, LATEST_SIZE)
        return pages.fitting(await self._store.latest(View(self._policy), size))

    async def publish(self, share_id: str, token: str) -> Share:
        """Publish a share; the time of the first publication stays.

        Raises:
            InvalidArgument: no token was given.
            NotFound: there is no such share.
            PermissionDenied: the token is not this share's.
        """
        await self._authorise(share_id, token)
        return _existing(await self._store.publish(share_id, self._clock()))

    async def delete(self, share_id: str, token: str) -> None:
        """Delete a share; raises as publish does."""
        await self._authorise(share_id, token)
        if not await self._store.delete(share_id):
            raise _missing()

    async def stats(self) -> Stats:
        """Counts over all shares, at most a little old."""
        return await self._store.stats(self._clock())

    async def _authorise(self, share_id: str, token: str) -> None:
        checks.token(token)
        kept = _existing(await self._store.token_digest(share_id))
        if not hmac.compare_digest(kept, digest_of(token)):
            raise PermissionDenied("This token does not belong to this share.", "INVALID_TOKEN")

    def _made(self, given: Draft) -> Share:
        now = self._clock()
        draft = checks.draft(given, now)
        generated = self._ref("share.generated_uri", draft.generated_uri)
        label = seo.label(draft.model)
        tags = draft.seo_tags or seo.tags_ja(draft.prompt, draft.style, label)
        return Share(
            id=new_id("share"),
            generated_ref=generated,
            original_ref=self._ref("share.original_uri", draft.original_uri),
            prompt=draft.prompt,
            style=draft.style,
            model=draft.model,
            generate_ms=draft.generate_ms,
            stored=draft.stored or generated != draft.generated_uri,
            seo_tags=tags,
            seo=seo.describe(draft.prompt, draft.style, label, tags),
            create_ms=now,
            unlisted=draft.unlisted,
        )

    def _ref(self, field: str, uri: str) -> str:
        """What is kept of a URL: the key when it is ours."""
        key = self._own_key(uri)
        if uri and not key:
            require_public(uri, self._allowed, field)
        return key or uri


def _existing(found: T | None) -> T:
    if found is None:
        raise _missing()
    return found


def _missing() -> NotFound:
    return NotFound("There is no such share. It may have been deleted.")
