"""A read that one replica leaves unanswered is asked of another; nothing else is asked twice, and not without bound."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

import grpc
import pytest
from google.api.annotations_pb2 import http
from grpc import aio
from kawaii.generation.v1 import generation_pb2
from kawaii.share.v1 import share_pb2
from kawaii.storage.v1 import storage_pb2

from services.chassis.channels import plain_channel
from services.chassis.errors import Unavailable
from services.chassis.repeated_reads import ATTEMPTS, MOST_REPEATS, REPEATS_PER_ANSWER, RepeatBudget, is_read, read
from tests.chassis.echo import READ, Client, mount
from tests.chassis.replicas import Process, only, target_of
from tests.support.polling import eventually
from tests.support.ports import free_port, listening
from tests.support.servers import serving

Act = Callable[[str], Awaitable[str]]


class Replica:
    """What a replica does with a call, and how many it got."""

    def __init__(self, act: Act) -> None:
        self.calls = 0
        self._act = act

    async def __call__(self, text: str) -> str:
        self.calls += 1
        return await self._act(text)


async def hangs(_text: str) -> str:
    await asyncio.Event().wait()
    return "never"


async def answers(_text: str) -> str:
    return "here"


async def refuses(_text: str) -> str:
    raise Unavailable("There is too much to do.", retry_after=1)


@asynccontextmanager
async def connected(*acts: Act) -> AsyncIterator[tuple[Client, list[Replica]]]:
    """A client of replicas that do this."""
    replicas = [Replica(act) for act in acts]
    async with AsyncExitStack() as exits:
        addresses = [await exits.enter_async_context(serving(mount(each))) for each in replicas]
        channel = await exits.enter_async_context(plain_channel(f"ipv4:{','.join(addresses)}"))
        await channel.channel_ready()
        yield Client(channel), replicas


async def test_a_read_that_one_replica_does_not_answer_is_answered_by_another() -> None:
    async with connected(hangs, answers) as (client, (hung, healthy)):
        told = [await client.ask(READ, "who") for _ in range(3)]

    assert told == ["here"] * 3
    assert hung.calls >= 1
    assert healthy.calls == 3


async def test_a_read_under_way_to_a_process_that_is_killed_is_answered_by_another() -> None:
    with closing(Process()) as one, closing(Process()) as other:
        await asyncio.gather(listening(one.port), listening(other.port))
        async with plain_channel(target_of(one, other)) as channel:
            client = Client(channel)
            await eventually(only(client, str(one.port), str(other.port)))
            one.signal(signal.SIGSTOP)  # takes calls, and answers none of them
            reads = [asyncio.create_task(client.ask(READ, "who")) for _ in range(4)]
            await asyncio.sleep(0)
            one.signal(signal.SIGKILL)
            told = await asyncio.gather(*reads)

    assert told == [str(other.port)] * 4


async def test_a_read_that_finds_no_replica_is_answered_by_one_that_comes_back_soon() -> None:
    port = free_port()
    async with plain_channel(f"127.0.0.1:{port}") as channel:
        asked = asyncio.create_task(Client(channel).ask(READ, "who"))
        async with serving(mount(answers), address=f"127.0.0.1:{port}"):
            told = await asked

    assert told == "here"


async def test_what_a_service_itself_says_is_not_asked_again() -> None:
    async with connected(refuses) as (client, (replica,)):
        with pytest.raises(aio.AioRpcError) as refused:
            await client.ask(READ, "who")

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert replica.calls == 1


async def test_a_call_that_is_no_read_is_made_once() -> None:
    async with connected(hangs) as (client, (replica,)):
        with pytest.raises(aio.AioRpcError) as late:
            await client.ask("unary_unary", "who", timeout=1)

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert replica.calls == 1


async def test_a_read_that_nobody_answers_ends_in_its_time_after_a_few_attempts() -> None:
    async with connected(hangs) as (client, (replica,)):
        with pytest.raises(aio.AioRpcError) as late:
            await client.ask(READ, "who", timeout=1)

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert replica.calls == ATTEMPTS


async def test_repeats_are_bounded_and_answered_reads_allow_some_more() -> None:
    budget, asked = RepeatBudget(), []

    async def lost(seconds: float) -> str:
        asked.append(seconds)
        raise aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata())

    async def found(_seconds: float) -> str:
        return "here"

    for _ in range(100):
        with pytest.raises(aio.AioRpcError):
            await read(lost, 0.1, budget)
    bounded = len(asked)
    for _ in range(round(1 / REPEATS_PER_ANSWER)):
        await read(found, 10, budget)
    with pytest.raises(aio.AioRpcError):
        await read(lost, 0.1, budget)

    assert bounded == 100 + MOST_REPEATS
    assert len(asked) == bounded + 2
    assert asked[-1] > asked[-2]  # the last attempt has all the time that is left


@pytest.mark.parametrize("name", ["GetShare", "BatchGetShares", "ListShares", "FindGeneration"])
def test_standard_methods_that_change_nothing_are_reads(name: str) -> None:
    assert is_read(f"/kawaii.share.v1.ShareService/{name}")


def test_the_names_of_methods_agree_with_their_verbs_in_rest() -> None:
    """A method that REST maps to another verb than GET changes something, and is never repeated."""
    services = [each for file in (generation_pb2, share_pb2, storage_pb2) for each in services_of(file)]
    verbs = {
        (method.full_name, method.GetOptions().Extensions[http].WhichOneof("pattern"))
        for service in services
        for method in service.methods
    }
    reads = {name for name, verb in verbs if verb == "get" and not name.endswith("WatchGeneration")}

    assert reads
    assert {name for name in reads if not is_read(path_of(name))} == set()
    assert {name for name, verb in verbs if verb not in {"get", None} and is_read(path_of(name))} == set()


def services_of(file: Any) -> Iterable[Any]:
    return file.DESCRIPTOR.services_by_name.values()


def path_of(full_name: str) -> str:
    return "/{}/{}".format(*full_name.rsplit(".", 1))


@pytest.mark.parametrize("name", ["CreateShare", "Getaway", "LikeArtwork", "DeleteShare", "EnsureUser", "WatchEvents"])
def test_other_methods_are_no_reads(name: str) -> None:
    assert not is_read(f"/kawaii.share.v1.ShareService/{name}")
