"""Publishing, deleting and counting, through a real channel."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TypeAlias

import pytest
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from services.chassis.errors import InvalidArgument, NotFound, PermissionDenied
from services.share.model import Policy

Client: TypeAlias = "sharerpc.ShareServiceAsyncStub"
Serve = Callable[..., AbstractAsyncContextManager["sharerpc.ShareServiceAsyncStub"]]
Refused = Callable[..., AbstractContextManager[None]]
Verb = Callable[["sharerpc.ShareServiceAsyncStub", str, str], Awaitable[object]]


async def make(client: Client, label: object = "a") -> sharepb.CreateShareResponse:
    share = sharepb.Share(generated_uri=f"https://pictures.example/{label}.png")
    return await client.CreateShare(sharepb.CreateShareRequest(share=share))


async def publish(client: Client, name: str, token: str) -> sharepb.Share:
    return await client.PublishShare(sharepb.PublishShareRequest(name=name, token=token))


async def delete(client: Client, name: str, token: str) -> object:
    return await client.DeleteShare(sharepb.DeleteShareRequest(name=name, token=token))


async def get(client: Client, name: str) -> sharepb.Share:
    return await client.GetShare(sharepb.GetShareRequest(name=name))


async def stats(client: Client) -> sharepb.ShareStats:
    return await client.GetShareStats(sharepb.GetShareStatsRequest())


@pytest.mark.parametrize("verb", [publish, delete])
async def test_nothing_happens_without_the_right_token(client: Client, refused: Refused, verb: Verb) -> None:
    created, other = await make(client), await make(client, "b")
    name = created.share.name

    with refused(InvalidArgument, "INVALID_INPUT", "token"):
        await verb(client, name, "")
    for token in ("wrong", "ptk_", "é\0", other.publish_token, created.publish_token.upper(), "x" * 100_000):
        with refused(PermissionDenied, "INVALID_TOKEN"):
            await verb(client, name, token)
    with refused(NotFound, "NOT_FOUND"):
        await verb(client, "shares/share_x", created.publish_token)
    with refused(InvalidArgument, "INVALID_INPUT", "name"):
        await verb(client, "share_x", created.publish_token)

    assert await get(client, name) == created.share


async def test_publishing_again_changes_nothing(client: Client, refused: Refused) -> None:
    created = await make(client)

    first = await publish(client, created.share.name, created.publish_token)

    assert first.published
    assert first.publish_time.seconds > created.share.create_time.seconds
    assert await publish(client, created.share.name, created.publish_token) == first
    assert await get(client, created.share.name) == first
    with refused(PermissionDenied, "INVALID_TOKEN"):
        await publish(client, created.share.name, "wrong")


async def test_thirty_concurrent_publications_of_one_share_agree(client: Client) -> None:
    created = await make(client)

    answers = await asyncio.gather(*(publish(client, created.share.name, created.publish_token) for _ in range(30)))

    assert len({answer.publish_time.seconds for answer in answers}) == 1
    assert (await stats(client)).published_count == 1


async def test_a_deleted_share_is_gone_and_its_picture_may_be_shared_anew(client: Client, refused: Refused) -> None:
    created = await make(client)
    await publish(client, created.share.name, created.publish_token)

    await delete(client, created.share.name, created.publish_token)

    with refused(NotFound, "NOT_FOUND"):
        await get(client, created.share.name)
    with refused(NotFound, "NOT_FOUND"):
        await delete(client, created.share.name, created.publish_token)
    page = await client.ListShares(sharepb.ListSharesRequest())
    assert (list(page.shares), page.total_size) == ([], 0)
    assert list((await client.ListLatestShares(sharepb.ListLatestSharesRequest())).shares) == []
    again = await make(client)
    assert again.publish_token
    assert again.share.name != created.share.name


async def test_of_concurrent_deletions_one_succeeds(client: Client) -> None:
    created = await make(client)
    deletions = (delete(client, created.share.name, created.publish_token) for _ in range(10))

    results = await asyncio.gather(*deletions, return_exceptions=True)

    assert len([each for each in results if not isinstance(each, BaseException)]) == 1


async def test_the_statistics_follow_every_change(serve: Serve) -> None:
    async with serve(Policy.PUBLISHED) as client:
        for label in range(3):
            created = await make(client, label)
            assert (await stats(client)).total_count == label + 1
        await publish(client, created.share.name, created.publish_token)
        told = await stats(client)

        assert (told.total_count, told.stored_count, told.published_count) == (3, 0, 1)
        assert told.HasField("update_time")
        await delete(client, created.share.name, created.publish_token)
        assert (await stats(client)).published_count == 0
