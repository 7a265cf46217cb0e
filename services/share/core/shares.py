"""Shares: created once per picture, listed by policy, published and deleted with their token."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TypeVar

from services.chassis import paging
from services.chassis.clock import Clock
from services.chassis.errors import NotFound, PermissionDenied, invalid_field
from services.chassis.names import new_id
from services.chassis.outbound import require_public
from services.share import seo
from services.share.core import validation
from services.share.core.cached import CachedShares
from services.share.model import NEWEST, NewShare, Policy, Query, Share, SharePage, SitemapLinks, Stats, View

DEFAULT_PAGE_SIZE = 20  # docs/rest.md#share-lists
MAX_BATCH = 1000  # names, of the proto
LATEST_SIZE = 12  # docs/rest.md#latest-shares
BLOCK_SIZE = 50_000  # what a sitemap file may hold; sequences only grow, so a full block changes no more
weight_of = attrgetter("weight")  # a share's bytes in a message
TOKEN_BYTES = 16  # as many random bits as a random UUID has; nobody guesses it
T = TypeVar("T")


def new_token() -> str:
    """A publish token that cannot be guessed."""
    return f"ptk_{secrets.token_urlsafe(TOKEN_BYTES)}"


def digest_of(token: str) -> str:
    """The digest of a token, which alone is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


class Shares:
    """Creates, reads, lists, publishes and deletes shares. Every method may raise Unavailable.

    own_key returns the object key in a URL of ours, empty for other URLs. Those must be public by their form, except
    for the host:port pairs in `allowed`.
    """

    def __init__(
        self,
        cached: CachedShares,
        policy: Policy,
        *,
        own_key: Callable[[str], str],
        clock: Clock,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        self._cached, self._policy, self._own_key, self._clock = cached, policy, own_key, clock
        self._allowed = allowed

    async def create(self, new_share: NewShare) -> tuple[Share, str]:
        """Share a picture and return its token; a picture shared before returns that share and no token.

        Raises:
            InvalidArgument: a field is invalid.
        """
        share, token = self._made(new_share), new_token()
        kept = await self._cached.insert(share, digest_of(token))
        return kept, token if kept.id == share.id else ""

    async def get(self, share_id: str) -> Share:
        """One share, listed or not.

        Raises:
            NotFound: there is none.
        """
        return _existing(await self._cached.find(share_id))

    async def batch(self, share_ids: Sequence[str]) -> tuple[Share, ...]:
        """The shares that exist of these ids, in the same order.

        Raises:
            InvalidArgument: more than MAX_BATCH were asked, or more than fit into one message.
        """
        if len(share_ids) > MAX_BATCH:
            raise invalid_field("names", f"At most {MAX_BATCH} names may be given at once.")
        found = await self._cached.batch(share_ids)
        asked = tuple(found[share_id] for share_id in share_ids if share_id in found)
        require_fitting(len(paging.fitting(asked, weight_of)), len(asked))
        return asked

    async def list(self, query: Query) -> SharePage:
        """A page of the gallery, newest first.

        Raises:
            InvalidArgument: a field of the query is invalid.
        """
        view = View(self._policy, *validation.facet(query))
        size = paging.page_size(query.page_size, DEFAULT_PAGE_SIZE, validation.MAX_PAGE_SIZE)
        before, skip = paging.sequence_of(str(view), query.page_token), validation.skip(query.skip)
        found = await self._cached.page(view, limit=size + 1, before=NEWEST if before is None else before, skip=skip)
        shown, last = paging.page_of(found, size, weight_of)
        next_token = paging.number_token(str(view), last.sequence) if last else ""
        return SharePage(shown, next_token, await self._cached.total(view))

    async def links(self, block: int) -> SitemapLinks:
        """The listed shares of one block of sequences, oldest first, for one sitemap file.

        Raises:
            InvalidArgument: block is negative.
        """
        validation.block(block)
        view, after = View(self._policy), block * BLOCK_SIZE
        blocks = -(-await self._cached.last_sequence(view) // BLOCK_SIZE)
        return SitemapLinks(await self._cached.links(view, after, after + BLOCK_SIZE) if block < blocks else (), blocks)

    async def latest(self, page_size: int) -> tuple[Share, ...]:
        """The shares whose pictures were made last, newest first.

        Raises:
            InvalidArgument: page_size is negative.
        """
        size = paging.page_size(page_size, LATEST_SIZE, validation.MAX_PAGE_SIZE)
        return paging.fitting(await self._cached.latest(View(self._policy), size), weight_of)

    async def publish(self, share_id: str, token: str) -> Share:
        """Publish a share; the time of the first publication stays.

        Raises:
            InvalidArgument: no token was given.
            NotFound: there is no such share.
            PermissionDenied: the token is not this share's.
        """
        await self._authorise(share_id, token)
        return _existing(await self._cached.publish(share_id, self._clock()))

    async def delete(self, share_id: str, token: str) -> None:
        """Delete a share. Raises as publish does."""
        await self._authorise(share_id, token)
        if not await self._cached.delete(share_id):
            raise _missing()

    async def stats(self) -> Stats:
        """Counts over all shares, perhaps some seconds old."""
        return await self._cached.stats(self._clock())

    async def _authorise(self, share_id: str, token: str) -> None:
        validation.token(token)
        kept = _existing(await self._cached.token_digest(share_id))
        if not hmac.compare_digest(kept, digest_of(token)):
            raise PermissionDenied("This token does not belong to this share.", "INVALID_TOKEN")

    def _made(self, given: NewShare) -> Share:
        now = self._clock()
        new_share = validation.new_share(given, now)
        generated = self._ref("share.generated_uri", new_share.generated_uri)
        label = seo.label(new_share.model)
        tags = new_share.seo_tags or seo.tags_ja(new_share.prompt, new_share.style, label)
        return Share(
            id=new_id("share"),
            generated_ref=generated,
            original_ref=self._ref("share.original_uri", new_share.original_uri),
            prompt=new_share.prompt,
            style=new_share.style,
            model=new_share.model,
            generate_ms=new_share.generate_ms,
            stored=new_share.stored or generated != new_share.generated_uri,
            seo_tags=tags,
            seo=seo.describe(new_share.prompt, new_share.style, label, tags),
            create_ms=now,
            unlisted=new_share.unlisted,
        )

    def _ref(self, field: str, uri: str) -> str:
        """The stored form of a URL: the key when it is ours."""
        key = self._own_key(uri)
        if uri and not key:
            require_public(uri, self._allowed, field)
        return key or uri


def require_fitting(fitting: int, found: int) -> None:
    """Refuse a batch whose shares do not fit into one message, rather than leave some out."""
    if fitting < found:
        sentence = f"These shares are too large for one answer. Ask for at most {fitting} of them at once."
        raise invalid_field("names", sentence)


def _existing(found: T | None) -> T:
    if found is None:
        raise _missing()
    return found


def _missing() -> NotFound:
    return NotFound("There is no such share. It may have been deleted.")
