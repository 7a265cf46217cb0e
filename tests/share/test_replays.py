"""Requests that a client named: made once, answered alike, on both engines and through a real channel."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import pytest
from grpc import aio
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from sqlalchemy import update

from services.chassis.database import Database, db_now
from services.chassis.errors import Aborted, AlreadyExists, PermissionDenied
from services.chassis.idempotency import IdempotencyKeys
from services.share.stores.tables import request_answer

Client: TypeAlias = "sharerpc.ShareServiceAsyncStub"
Refused = Callable[..., AbstractContextManager[None]]
CAT = sharepb.CreateShareRequest(share=sharepb.Share(generated_uri="https://pictures.example/a.png"))
KEY, OTHER = (("idempotency-key", "k"), ("idempotency-digest", "d")), (("idempotency-digest", "other"),)


class Call:
    """What a servicer is told of a call, and what it tells back."""

    def __init__(self, key: str, digest: str = "") -> None:
        self.metadata = (("idempotency-key", key), ("idempotency-digest", digest))
        self.trailing: Any = ()

    def invocation_metadata(self) -> Any:
        """What the caller said."""
        return self.metadata

    def set_trailing_metadata(self, trailing: Any) -> None:
        """Keep it."""
        self.trailing = trailing


async def replayed(call: aio.Call) -> bool:
    return ("idempotent-replayed", "true") in tuple(await call.trailing_metadata())


async def test_a_lost_publish_token_is_given_again_to_who_repeats_the_request(client: Client) -> None:
    calls = [client.CreateShare(CAT, metadata=KEY)]
    first = await calls[0]
    calls.append(client.CreateShare(CAT, metadata=KEY))
    second = await calls[1]
    stranger = await client.CreateShare(CAT)

    assert first == second
    assert first.publish_token
    assert not stranger.publish_token
    assert [await replayed(call) for call in calls] == [False, True]


async def test_a_key_that_was_used_for_another_request_is_refused(client: Client, refused: Refused) -> None:
    await client.CreateShare(CAT, metadata=KEY)

    with refused(AlreadyExists, "IDEMPOTENCY_KEY_REUSED"):
        await client.CreateShare(CAT, metadata=(KEY[0], *OTHER))


async def test_a_refusal_is_not_kept(client: Client, refused: Refused) -> None:
    made = await client.CreateShare(CAT)
    with refused(PermissionDenied, "INVALID_TOKEN"):
        await client.PublishShare(sharepb.PublishShareRequest(name=made.share.name, token="wrong"), metadata=KEY)

    right = sharepb.PublishShareRequest(name=made.share.name, token=made.publish_token)

    assert (await client.PublishShare(right, metadata=KEY)).published


async def test_while_the_first_is_under_way_a_repetition_is_sent_away(database: Database) -> None:
    replays, begun, go_on = IdempotencyKeys(database, request_answer), asyncio.Event(), asyncio.Event()

    async def work() -> sharepb.Share:
        begun.set()
        await go_on.wait()
        return sharepb.Share(prompt="made")

    first = asyncio.create_task(replays.once(Call("k"), sharepb.Share, work))
    await begun.wait()
    with pytest.raises(Aborted) as caught:
        await replays.once(Call("k"), sharepb.Share, work)
    go_on.set()
    again = Call("k")

    assert (caught.value.reason, caught.value.retry_after) == ("IDEMPOTENCY_IN_FLIGHT", 1.0)
    assert await first == await replays.once(again, sharepb.Share, work)
    assert again.trailing == (("idempotent-replayed", "true"),)


async def test_what_a_dead_process_had_in_hand_may_begin_anew_after_its_lease(database: Database) -> None:
    replays = IdempotencyKeys(database, request_answer)

    async def work() -> sharepb.Share:
        return sharepb.Share(prompt="made")

    await replays._begin("Share k", "")
    over = update(request_answer).values(due_ms=db_now() - 1)
    await database.write(lambda transaction: transaction.execute(over))

    assert (await replays.once(Call("k"), sharepb.Share, work)).prompt == "made"


async def test_a_call_that_is_cut_off_leaves_its_key_free(database: Database) -> None:
    replays, begun = IdempotencyKeys(database, request_answer), asyncio.Event()

    async def hang() -> sharepb.Share:
        begun.set()
        return await asyncio.Future()

    async def work() -> sharepb.Share:
        return sharepb.Share(prompt="made")

    first = asyncio.create_task(replays.once(Call("k"), sharepb.Share, hang))
    await begun.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert (await replays.once(Call("k"), sharepb.Share, work)).prompt == "made"
