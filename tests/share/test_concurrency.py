"""Many concurrent calls, and very many shares: nothing is lost, doubled or skipped (docs/rest.md#differences)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import TypeAlias

from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from sqlalchemy import select

from services.chassis.database import Database
from services.share.core.shares import BLOCK_SIZE
from services.share.model import Policy
from services.share.stores.tables import share as share_table
from tests.share.bulk_shares import grow

Client: TypeAlias = "sharerpc.ShareServiceAsyncStub"
Serve = Callable[..., AbstractAsyncContextManager["sharerpc.ShareServiceAsyncStub"]]
MANY = 30_000


async def create(client: Client, label: object) -> sharepb.CreateShareResponse:
    share = sharepb.Share(generated_uri=f"https://pictures.example/{label}")
    return await client.CreateShare(sharepb.CreateShareRequest(share=share))


async def listed(client: Client, token: str = "", size: int = 100) -> sharepb.ListSharesResponse:
    return await client.ListShares(sharepb.ListSharesRequest(page_size=size, page_token=token))


async def test_fifty_shares_made_at_once_are_all_listed(client: Client) -> None:
    made = await asyncio.gather(*(create(client, number) for number in range(50)))

    page = await listed(client)
    assert {share.name for share in page.shares} == {each.share.name for each in made}
    assert (len(page.shares), page.total_size, page.next_page_token) == (50, 50, "")


async def test_fifty_times_the_same_picture_at_once_is_one_share_with_one_token(client: Client) -> None:
    made = await asyncio.gather(*(create(client, "same") for _ in range(50)))

    assert len({each.share.name for each in made}) == 1
    assert len([each for each in made if each.publish_token]) == 1
    assert (await listed(client)).total_size == 1


async def test_thirty_shares_published_at_once_are_all_published(serve: Serve) -> None:
    async with serve(Policy.PUBLISHED) as client:
        made = [await create(client, number) for number in range(30)]
        assert (await listed(client)).total_size == 0
        requests = (sharepb.PublishShareRequest(name=each.share.name, token=each.publish_token) for each in made)
        await asyncio.gather(*map(client.PublishShare, requests))

        page = await listed(client)
        assert {share.name for share in page.shares} == {each.share.name for each in made}
        assert page.total_size == 30
        assert (await client.GetShareStats(sharepb.GetShareStatsRequest())).published_count == 30


async def test_paging_to_the_end_while_others_insert_shows_each_share_once(client: Client, database: Database) -> None:
    first = (await create(client, "first")).share.name
    await grow(database, MANY)
    ids = select(share_table.c.id)
    before = {f"shares/{row}" for row in await database.read(lambda transaction: transaction.scalars(ids).all())}
    inserting, numbers = True, count()

    async def insert() -> None:
        while inserting:
            await create(client, next(numbers))

    inserter = asyncio.create_task(insert())
    seen, token = [], ""
    while (page := await listed(client, token)).shares:
        seen += [share.name for share in page.shares]
        if not (token := page.next_page_token):
            break
    inserting = False
    await inserter

    assert next(numbers) > 1
    assert len(seen) == len(set(seen))
    assert before <= set(seen)
    assert seen[-1] == first


async def test_a_sitemap_beyond_a_block_holds_each_share_once(client: Client, database: Database) -> None:
    assert await links(client, 0) == ([], 0)
    first = (await create(client, "first")).share.name
    assert await links(client, 0) == ([first], 1)
    await grow(database, BLOCK_SIZE + 1)

    blocks = [await links(client, block) for block in range(3)]

    assert [(len(names), number) for names, number in blocks] == [(BLOCK_SIZE, 2), (1, 2), (0, 2)]
    assert len({name for names, _ in blocks for name in names}) == BLOCK_SIZE + 1


async def links(client: Client, block: int) -> tuple[list[str], int]:
    answer = await client.ListShareLinks(sharepb.ListShareLinksRequest(block=block))
    return [link.name for link in answer.links], answer.block_count
