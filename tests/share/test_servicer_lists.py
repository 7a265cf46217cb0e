"""The gallery and the latest, through a real channel."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeAlias

import pytest
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from services.chassis.errors import InvalidArgument
from services.share.model import Policy

Client: TypeAlias = "sharerpc.ShareServiceAsyncStub"
Serve = Callable[..., AbstractAsyncContextManager["sharerpc.ShareServiceAsyncStub"]]
Refused = Callable[..., AbstractContextManager[None]]


async def make(client: Client, label: object, *, published: bool = False, **fields: Any) -> str:
    share = sharepb.Share(generated_uri=f"https://pictures.example/{label}", **fields)
    created = await client.CreateShare(sharepb.CreateShareRequest(share=share))
    if published:
        token = created.publish_token
        await client.PublishShare(sharepb.PublishShareRequest(name=created.share.name, token=token))
    return created.share.name


async def listed(client: Client, **query: Any) -> sharepb.ListSharesResponse:
    return await client.ListShares(sharepb.ListSharesRequest(**query))


async def latest(client: Client, page_size: int = 0) -> list[str]:
    answer = await client.ListLatestShares(sharepb.ListLatestSharesRequest(page_size=page_size))
    return [share.name for share in answer.shares]


def names(page: sharepb.ListSharesResponse) -> list[str]:
    return [share.name for share in page.shares]


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (Policy.TEXT_TO_IMAGE, ["text", "text published"]),
        (Policy.PUBLISHED, ["text published", "picture published"]),
        (Policy.PUBLISHED_OR_TEXT, ["text", "text published", "picture published"]),
        (Policy.ALL, ["text", "picture", "text published", "picture published"]),
    ],
)
async def test_the_policy_decides_what_the_lists_show(serve: Serve, policy: Policy, shown: list[str]) -> None:
    picture: Any = {"original_uri": "https://a.example/o.png"}
    async with serve(policy) as client:
        made = {
            "text": await make(client, 1),
            "picture": await make(client, 2, **picture),
            "text published": await make(client, 3, published=True),
            "picture published": await make(client, 4, published=True, **picture),
        }
        expected = [made[each] for each in reversed(shown)]

        page = await listed(client)

        assert (names(page), page.total_size, page.next_page_token) == (expected, len(expected), "")
        assert await latest(client) == await latest(client, 100) == expected


async def test_fifty_concurrent_shares_are_all_listed(client: Client) -> None:
    made = await asyncio.gather(*(make(client, number) for number in range(50)))

    page = await listed(client, page_size=100)

    assert sorted(names(page)) == sorted(made)
    assert page.total_size == 50


async def test_thirty_concurrent_publications_are_all_listed(serve: Serve) -> None:
    async with serve(Policy.PUBLISHED) as client:
        made = await asyncio.gather(*(make(client, number, published=True) for number in range(30)))

        assert sorted(names(await listed(client, page_size=100))) == sorted(made)
        assert len(await latest(client)) == 12


@pytest.mark.parametrize("facet", ["style", "model", "tag"])
async def test_a_list_may_be_narrowed(client: Client, refused: Refused, facet: str) -> None:
    field = {"style": "style", "model": "model", "tag": "seo_tags"}[facet]
    wanted: Any = {field: ["水彩 ' %", "other"] if facet == "tag" else "水彩 ' %"}
    others: Any = {field: ["x"] if facet == "tag" else "x"}
    name = await make(client, 1, **wanted)
    await make(client, 2, **others)

    page = await listed(client, **{facet: " 水彩 ' % "})

    assert (names(page), page.total_size) == ([name], 1)
    assert names(await listed(client, **{facet: "%"})) == []
    with refused(InvalidArgument, "INVALID_INPUT", facet):
        await listed(client, **{facet: "a\0"})
    with refused(InvalidArgument, "INVALID_INPUT", facet):
        await listed(client, **{facet: "a" * 201})


async def test_a_list_is_narrowed_by_one_thing_only(client: Client, refused: Refused) -> None:
    with refused(InvalidArgument, "INVALID_INPUT", "tag"):
        await listed(client, style="a", tag="b")


async def test_paging_meets_every_share_once_while_others_come(client: Client) -> None:
    made = [await make(client, number) for number in range(25)]
    seen, token, late = [], "", 0
    while True:
        page = await listed(client, page_size=4, page_token=token)
        seen += names(page)
        if not (token := page.next_page_token):
            break
        await asyncio.gather(*(make(client, f"late {late + each}".replace(" ", "")) for each in range(3)))
        late += 3
        assert int(token) < 2**53

    assert seen == made[::-1]
    assert page.total_size == 25 + late


async def test_a_page_of_the_longest_prompts_ends_early_instead_of_failing(client: Client) -> None:
    made = await asyncio.gather(*(make(client, number, prompt="👩" * 10_000) for number in range(100)))

    first = await listed(client, page_size=100)
    second = await listed(client, page_size=100, page_token=first.next_page_token)

    assert 50 < len(first.shares) < 100
    assert sorted(names(first) + names(second)) == sorted(made)


async def test_a_list_may_be_paged_by_offset(client: Client, refused: Refused) -> None:
    made = [await make(client, number) for number in range(5)][::-1]

    page = await listed(client, page_size=2, skip=2)

    assert (names(page), page.total_size) == (made[2:4], 5)
    assert names(await listed(client, page_size=2, page_token=page.next_page_token)) == made[4:]
    assert names(await listed(client, skip=10_000)) == []
    for skip in (-1, 10_001):
        with refused(InvalidArgument, "INVALID_INPUT", "skip"):
            await listed(client, skip=skip)


async def test_page_sizes_have_a_default_and_a_bound(client: Client, refused: Refused) -> None:
    await asyncio.gather(*(make(client, number) for number in range(101)))

    assert len((await listed(client)).shares) == 20
    assert len((await listed(client, page_size=1000)).shares) == 100
    assert (len(await latest(client)), len(await latest(client, 5)), len(await latest(client, 500))) == (12, 5, 100)
    with refused(InvalidArgument, "INVALID_INPUT", "page_size"):
        await listed(client, page_size=-1)
    with refused(InvalidArgument, "INVALID_INPUT", "page_size"):
        await latest(client, -1)


async def test_a_negative_block_of_links_is_refused(client: Client, refused: Refused) -> None:
    with refused(InvalidArgument, "INVALID_INPUT", "block"):
        await client.ListShareLinks(sharepb.ListShareLinksRequest(block=-1))


@pytest.mark.parametrize("forge", ["0", "1", "-1", "x", "٣٣٣٣٣٣٣", "9" * 16, "1" * 400, "1e9", "100000", "{}1", "0{}"])
async def test_a_page_token_of_others_is_refused(client: Client, refused: Refused, forge: str) -> None:
    await asyncio.gather(*(make(client, number, style="a") for number in range(3)))
    token = (await listed(client, page_size=1)).next_page_token

    with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
        await listed(client, page_token=forge.format(token))
    with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
        await listed(client, page_token=token, style="a")
    with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
        await listed(client, page_token=str(int(token) - 100_000))


async def test_the_latest_are_the_newest_pictures(client: Client) -> None:
    made = []
    for day in (3, 1, 2):
        share = sharepb.Share(generated_uri=f"https://pictures.example/{day}")
        share.generate_time.FromJsonString(f"2023-01-0{day}T00:00:00Z")
        made.append((await client.CreateShare(sharepb.CreateShareRequest(share=share))).share.name)

    assert await latest(client) == [made[0], made[2], made[1]]
