"""Outgoing calls end before the call they serve, and a neighbour that is away is an error of ours."""

import time
from collections.abc import Iterator

import pytest

from services.chassis import context
from services.chassis.channels import DEFAULT_SECONDS, HOP_SECONDS, LEAST_SECONDS, connect, timeout_of
from services.chassis.errors import DeadlineExceeded, Unavailable
from services.chassis.status import translated
from tests.chassis.echo import SHAPES, STREAMED, Client, echoing
from tests.support.ports import free_port

BOUNDED = [shape for shape in SHAPES if shape not in STREAMED]


@pytest.fixture
def deadline() -> Iterator[None]:
    """Leaves no deadline behind."""
    token = context.deadline.set(None)
    yield
    context.deadline.reset(token)


async def tell_remaining(_text: str) -> str:
    return str(context.time_remaining())


@pytest.mark.parametrize("shape", BOUNDED)
async def test_an_inner_call_gets_what_the_outer_has_left(shape: str) -> None:
    async with echoing(tell_remaining) as neighbour:

        async def outer(text: str) -> str:
            return await neighbour.ask(shape, text)

        async with echoing(outer) as client:
            remaining = float(await client.ask("unary_unary", "", timeout=3))

    assert 0 < remaining < 3


async def test_an_inner_call_may_ask_for_less() -> None:
    async with echoing(tell_remaining) as neighbour:

        async def outer(text: str) -> str:
            return await neighbour.ask("unary_unary", text, timeout=2)

        async with echoing(outer) as client:
            remaining = float(await client.ask("unary_unary", "", timeout=60))

    assert 0 < remaining < 3  # gRPC rounds what it writes on the wire


async def test_an_inner_call_may_not_ask_for_more() -> None:
    async with echoing(tell_remaining) as neighbour:

        async def outer(text: str) -> str:
            return await neighbour.ask("unary_unary", text, timeout=60)

        async with echoing(outer) as client:
            remaining = float(await client.ask("unary_unary", "", timeout=3))

    assert 0 < remaining <= 3


@pytest.mark.usefixtures("deadline")
def test_a_call_of_nobody_gets_the_default() -> None:
    assert timeout_of(None) == DEFAULT_SECONDS
    assert timeout_of(70.0) == 70.0


@pytest.mark.usefixtures("deadline")
@pytest.mark.parametrize("left", [-5.0, 0.0, HOP_SECONDS, HOP_SECONDS + LEAST_SECONDS / 2])
def test_a_call_with_too_little_time_is_not_started(left: float) -> None:
    context.deadline.set(time.monotonic() + left)

    with pytest.raises(DeadlineExceeded):
        timeout_of(None)


async def test_a_caller_in_a_hurry_hears_that_time_ran_out() -> None:
    """The inner call is refused before it starts, and the caller learns why."""
    asked: list[str] = []

    async def inner(text: str) -> str:
        asked.append(text)
        return ""

    async with echoing(inner) as neighbour:

        async def outer(text: str) -> str:
            context.deadline.set(time.monotonic() + HOP_SECONDS)
            return await neighbour.ask("unary_unary", text)

        async with echoing(outer) as client:
            with pytest.raises(DeadlineExceeded), translated():
                await client.ask("unary_unary", "you")

    assert asked == []


@pytest.mark.parametrize("shape", ["unary_unary", "stream_unary", "unary_stream"])
async def test_a_stopped_service_is_unavailable(shape: str) -> None:
    async with connect(f"127.0.0.1:{free_port()}") as channel:
        with pytest.raises(Unavailable) as caught, translated():
            await Client(channel).ask(shape, "you")

    assert "127.0.0.1" not in caught.value.message


async def test_a_service_that_comes_back_is_found_again() -> None:
    async def hello(text: str) -> str:
        return text

    async with echoing(hello) as client:
        assert await client.ask("unary_unary", "a") == "a"
        assert await client.ask("unary_unary", "b") == "b"
