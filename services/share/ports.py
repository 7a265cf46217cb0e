"""The port of the share store; its docstrings are the contract of every adapter."""

from collections.abc import Sequence
from typing import Protocol

from services.share.model import NEWEST, Share, ShareRecord, SitemapLink, Stats, View


class ShareStore(Protocol):
    """Stores shares. Every method raises Unavailable when the database is away, and then nothing was changed."""

    async def insert(self, share: Share, token_digest: str) -> Share:
        """Insert a share, unless one with the same generated_ref is stored already.

        Returns:
            The stored share: the one given, now with its sequence, or the older one with another id. Of any number of
            concurrent calls with one generated_ref, all return the same share.
        """

    async def find(self, share_id: str) -> Share | None:
        """The share with this id, or None."""

    async def batch(self, share_ids: Sequence[str]) -> dict[str, Share]:
        """Those of the named shares that exist, by id, read in one query."""

    async def token_digest(self, share_id: str) -> str | None:
        """The digest that was given to insert, which never changes; None when there is no such share."""

    async def page(self, view: View, *, limit: int, before: int = NEWEST, skip: int = 0) -> tuple[Share, ...]:
        """The newest shares of a view, largest sequence first, leaving out the first `skip`.

        Only those with a sequence below `before`. Costs no more when there are more shares, but for `skip`.
        """

    async def latest(self, view: View, limit: int) -> tuple[Share, ...]:
        """The shares of a view with the largest generate_ms first; equal ones by sequence, largest first."""

    async def total(self, view: View) -> int:
        """How many shares a view holds. Costs no more when there are more shares."""

    async def links(self, view: View, after: int, until: int) -> tuple[SitemapLink, ...]:
        """The shares of a view with a sequence above `after`, up to and with `until`, oldest first."""

    async def last_sequence(self, view: View) -> int:
        """The newest sequence of a view, 0 when it is empty. Costs no more when there are more shares."""

    async def publish(self, share_id: str, now_ms: int) -> Share | None:
        """Set publish_ms to now_ms, unless it is set; the share as it is then, or None when there is none."""

    async def delete(self, share_id: str) -> bool:
        """Delete a share and its tags; False when there was none. Its generated_ref may be inserted anew."""

    async def records(self, after: int, limit: int) -> tuple[ShareRecord, ...]:
        """The shares with a sequence above `after`, smallest first, whether listed or not, with their digests."""

    async def restore(self, record: ShareRecord) -> tuple[bool, Share | None]:
        """Insert a share as given, published or not, unless one with its id or its generated_ref is stored already.

        Returns:
            Whether it was inserted, and the stored share: the one given, now with its sequence, or the older one, which
            is unchanged. None when the older one was deleted at this moment.
        """

    async def expire(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Delete at most so many shares that were both created and, if at all, published before; their ids."""

    async def reconcile(self) -> int:
        """Correct the counts to those of the shares; returns the drift, 0 when they were right.

        Reads every share once. Any number may run at once, beside any other change.
        """

    async def stats(self, now_ms: int) -> Stats:
        """Count all shares; update_ms is now_ms, or earlier when the counts were taken earlier."""
