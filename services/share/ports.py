"""The port of the share store; its docstrings are the contract of every adapter."""

from collections.abc import Sequence
from typing import Protocol

from services.chassis.database import Transaction
from services.share.model import NEWEST, Share, ShareRecord, SitemapLink, Stats, View


class ShareStore(Protocol):
    """Stores shares, within the transaction that it is given."""

    def insert(self, transaction: Transaction, share: Share, token_digest: str) -> Share:
        """Insert a share, unless one with the same generated_ref is stored already.

        Returns:
            The stored share: the one given, now with its sequence, or the older one with another id. Of any number of
            concurrent calls with one generated_ref, all return the same share.
        """

    def find(self, transaction: Transaction, share_id: str) -> Share | None:
        """The share with this id, or None."""

    def batch(self, transaction: Transaction, share_ids: Sequence[str]) -> dict[str, Share]:
        """Those of the named shares that exist, by id, read in one query."""

    def token_digest(self, transaction: Transaction, share_id: str) -> str | None:
        """The digest that was given to insert, which never changes; None when there is no such share."""

    def page(
        self, transaction: Transaction, view: View, *, limit: int, before: int = NEWEST, skip: int = 0
    ) -> tuple[Share, ...]:
        """The newest shares of a view, largest sequence first, leaving out the first `skip`.

        Only those with a sequence below `before`. Costs no more when there are more shares, but for `skip`.
        """

    def latest(self, transaction: Transaction, view: View, limit: int) -> tuple[Share, ...]:
        """The shares of a view with the largest generate_ms first; equal ones by sequence, largest first."""

    def total(self, transaction: Transaction, view: View) -> int:
        """How many shares a view holds. Costs no more when there are more shares."""

    def links(self, transaction: Transaction, view: View, after: int, until: int) -> tuple[SitemapLink, ...]:
        """The shares of a view with a sequence above `after`, up to and with `until`, oldest first."""

    def last_sequence(self, transaction: Transaction, view: View) -> int:
        """The newest sequence of a view, 0 when it is empty. Costs no more when there are more shares."""

    def publish(self, transaction: Transaction, share_id: str, now_ms: int) -> Share | None:
        """Set publish_ms to now_ms, unless it is set; the share as it is then, or None when there is none."""

    def delete(self, transaction: Transaction, share_id: str) -> bool:
        """Delete a share and its tags; False when there was none. Its generated_ref may be inserted anew."""

    def records(self, transaction: Transaction, after: int, limit: int) -> tuple[ShareRecord, ...]:
        """The shares with a sequence above `after`, smallest first, whether listed or not, with their digests."""

    def restore(self, transaction: Transaction, record: ShareRecord) -> tuple[bool, Share | None]:
        """Insert a share as given, published or not, unless one with its id or its generated_ref is stored already.

        Returns:
            Whether it was inserted, and the stored share: the one given, now with its sequence, or the older one, which
            is unchanged. None when the older one was deleted at this moment.
        """

    def expire(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[str, ...]:
        """Delete at most so many shares that were both created and, if at all, published before; their ids."""

    def has_drift(self, transaction: Transaction) -> bool:
        """Whether a count differs from that of the shares. Only reads, but every share."""

    def reconcile(self, transaction: Transaction) -> int:
        """Correct the counts to those of the shares; returns the drift, 0 when they were right.

        Reads every share once. Any number may run at once, beside any other change.
        """

    def stats(self, transaction: Transaction, now_ms: int) -> Stats:
        """Count all shares; update_ms is now_ms, or earlier when the counts were taken earlier."""
