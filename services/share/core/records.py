"""Export and restoration of shares, for operators."""

import re
from collections.abc import Callable
from dataclasses import replace

from services.chassis import paging
from services.chassis.clock import Clock
from services.chassis.errors import AlreadyExists, Unavailable
from services.chassis.outbound import require_public
from services.share.core import validation
from services.share.core.cached import CachedShares
from services.share.model import Share, ShareRecord, ShareRecordPage

TOKEN = re.compile(r"[0-9]{1,18}", re.ASCII)  # a sequence, which has 63 bits


class ShareRecords:
    """Lists and restores shares with their tokens' digests. Raises Unavailable; own_key and allowed as for Shares."""

    def __init__(
        self,
        cached: CachedShares,
        *,
        own_key: Callable[[str], str],
        clock: Clock,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        self._cached, self._own_key, self._clock, self._allowed = cached, own_key, clock, allowed

    async def list(self, page_size: int, page_token: str) -> ShareRecordPage:
        """A page of all shares, oldest first.

        Raises:
            InvalidArgument: page_size is negative, or the token is not ours.
        """
        if page_token and not TOKEN.fullmatch(page_token):
            raise paging.foreign_token()
        size = paging.page_size(page_size, validation.MAX_PAGE_SIZE, validation.MAX_PAGE_SIZE)
        found = await self._cached.records(int(page_token or 0), size + 1)
        shown, last = paging.page_of(found, size, lambda record: record.share.weight)
        return ShareRecordPage(shown, str(last.share.sequence) if last else "")

    async def restore(self, given: ShareRecord) -> bool:
        """Restore an exported share; False when it is stored already, which leaves it unchanged.

        Raises:
            InvalidArgument: a field is invalid.
            AlreadyExists: ID_TAKEN, another share has its id; PICTURE_TAKEN, its picture is shared under another id.
        """
        record = validation.record(given, self._clock())
        share = replace(
            record.share,
            generated_ref=self._ref("generated_uri", record.share.generated_ref),
            original_ref=self._ref("original_uri", record.share.original_ref),
        )
        created, kept = await self._cached.restore(ShareRecord(share, record.token_digest))
        if kept is None:
            raise Unavailable("The share changed at this moment. Try again.", retry_after=1)
        if not created:
            _require_same(share, kept)
        return created

    def _ref(self, field: str, ref: str) -> str:
        """The stored form of a key or a URL: the key when it is ours. A key holds no colon."""
        key = self._own_key(ref)
        if ":" in ref and not key:
            require_public(ref, self._allowed, field)
        return key or ref


def _require_same(given: Share, kept: Share) -> None:
    if kept.id != given.id:
        sentence = f"Its picture is shared here already, as shares/{kept.id}. Delete that share, or leave this one out."
        raise AlreadyExists(sentence, "PICTURE_TAKEN", metadata={"share": f"shares/{kept.id}"})
    if (kept.generated_ref, kept.create_ms) != (given.generated_ref, given.create_ms):
        sentence = "Another share has this id here: its picture or its time of creation is another. It stays as it is."
        raise AlreadyExists(sentence, "ID_TAKEN")
