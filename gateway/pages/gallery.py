"""Asks the share service for what the pages show: the one seam where it may be down without taking a page along."""

from collections.abc import Sequence

from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from gateway.clients.share_reads import ShareReads
from services.chassis.errors import DeadlineExceeded, NotFound, Unavailable
from services.chassis.names import ID, name
from services.chassis.status import translated

PAGE_SIZE = 24  # fills whole rows of 2, 3, 4 and 6 tiles
LINKS_SECONDS = 10.0  # a full block is 50,000 rows
NO_BLOCK = 2**31 - 1  # the field's largest number: of 10^14 shares
LATEST_SECONDS = 2.0  # the start page can do without its list, so it does not wait long


async def find(shares: ShareReads, share_id: str) -> sharepb.Share:
    """One share.

    Raises:
        NotFound: no share has this id, also when it is none that we could have made.
    """
    if not ID.fullmatch(share_id):
        raise NotFound("There is no such share.")
    with translated():
        return await shares.find(name("shares", share_id))


async def page(shares: "sharerpc.ShareServiceAsyncStub", cursor: str) -> sharepb.ListSharesResponse:
    """A page of the gallery, from a cursor on; the first one when it is empty."""
    with translated():
        return await shares.ListShares(sharepb.ListSharesRequest(page_size=PAGE_SIZE, page_token=cursor))


async def links(shares: "sharerpc.ShareServiceAsyncStub", block: int) -> sharepb.ListShareLinksResponse:
    """The links of a block of shares, for a sitemap."""
    with translated():
        return await shares.ListShareLinks(sharepb.ListShareLinksRequest(block=block), timeout=LINKS_SECONDS)


async def block_count(shares: "sharerpc.ShareServiceAsyncStub") -> int:
    """How many blocks of shares there are: a block beyond the last holds no links, and costs one row of an index."""
    with translated():
        beyond = sharepb.ListShareLinksRequest(block=NO_BLOCK)
        return (await shares.ListShareLinks(beyond)).block_count


async def latest(shares: "sharerpc.ShareServiceAsyncStub") -> Sequence[sharepb.Share] | None:
    """The newest shares; None while the share service is away, because pictures can be made without it."""
    try:
        with translated():
            answer = await shares.ListLatestShares(sharepb.ListLatestSharesRequest(), timeout=LATEST_SECONDS)
    except (Unavailable, DeadlineExceeded):
        return None
    return answer.shares
