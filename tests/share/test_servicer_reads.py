"""Reading shares by their names, through a real channel."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

import pytest
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from services.chassis.errors import InvalidArgument, NotFound

Client: TypeAlias = "sharerpc.ShareServiceAsyncStub"
Refused = Callable[..., AbstractContextManager[None]]


def request(number: int) -> sharepb.CreateShareRequest:
    return sharepb.CreateShareRequest(share=sharepb.Share(generated_uri=f"https://pictures.example/{number}"))


@pytest.mark.parametrize("identifier", ["share_x", "stats", "list", "index:published:all", "a/b", "../x", ""])
async def test_only_a_share_is_read_by_its_name(client: Client, refused: Refused, identifier: str) -> None:
    plain = re.fullmatch(r"[a-z_]+", identifier)

    with refused(NotFound, "NOT_FOUND") if plain else refused(InvalidArgument, "INVALID_INPUT", "name"):
        await client.GetShare(sharepb.GetShareRequest(name=f"shares/{identifier}"))


async def test_a_batch_keeps_the_order_and_leaves_out_what_is_not_there(client: Client, refused: Refused) -> None:
    made = [(await client.CreateShare(request(number))).share for number in range(3)]
    names = [made[2].name, "shares/share_x", made[0].name]

    found = await client.BatchGetShares(sharepb.BatchGetSharesRequest(names=names))

    assert list(found.shares) == [made[2], made[0]]
    with refused(InvalidArgument, "INVALID_INPUT", "names"):
        await client.BatchGetShares(sharepb.BatchGetSharesRequest(names=["shares/a"] * 1001))
