"""Page tokens of artwork lists and reports, and pages of artworks."""

import math
from collections.abc import Sequence

from services.chassis import paging
from services.chassis.names import ID
from services.community.model import After, ArtworkPage, ListEntry, Listing


def _position(value: str, identifier: str) -> After:
    number = float(value)
    if not math.isfinite(number) or not ID.fullmatch(identifier.partition(" ")[0]):
        raise ValueError(identifier)
    return number, identifier


TOKENS = paging.PageTokens(_position)


def token(binding: str, value: float, identifier: str) -> str:
    """The token of the page that begins after an entry of the list that `binding` names."""
    return TOKENS.token(binding.encode(), repr(value), identifier)


def after_of(binding: str, page_token: str) -> After | None:
    """The value and id after which the page of a token begins; None for the first page.

    Raises:
        InvalidArgument: the token is not ours, or belongs to another list.
    """
    return TOKENS.position(binding.encode(), page_token)


def page_of(listing: Listing, entries: Sequence[ListEntry], size: int) -> ArtworkPage:
    """A page of the first `size` of size + 1 entries, with the token of the next page."""
    shown, last = paging.page_of(entries, size, lambda entry: entry.card.artwork.weight)
    following = token(str(listing), last.value, last.card.artwork.id) if last else ""
    return ArtworkPage(tuple([entry.card for entry in shown]), following)
