"""What happens around every RPC happens for all four shapes, through a real server and a real channel."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from structlog.testing import capture_logs

from services.chassis import context
from services.chassis.errors import Internal, NotFound, Unavailable
from services.chassis.status import from_rpc
from tests.chassis.echo import SERVICE, SHAPES, STREAMED, Client, Hasty, echoing
from tests.support.polling import eventually

every_shape = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


async def hello(text: str) -> str:
    return f"hello {text}"


async def fail(_text: str) -> str:
    raise ZeroDivisionError("secret-host:5432")


async def hang(_text: str) -> str:
    await asyncio.Event().wait()
    return ""


async def refuse(text: str) -> str:
    raise NotFound(f"no {text}", "TASK_NOT_FOUND")


def rpcs(logs: list[Any]) -> list[tuple[str, str]]:
    return [(line["method"], line["code"]) for line in logs if line["event"] == "rpc"]


@every_shape
async def test_an_answer_passes_untouched(shape: str) -> None:
    async with echoing(hello) as client:
        assert await client.ask(shape, "you") == "hello you"


@every_shape
async def test_an_unexpected_exception_is_internal_and_shows_nothing(shape: str, logs: list[Any]) -> None:
    async with echoing(fail) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.ask(shape, "you")

    error = from_rpc(caught.value)
    assert isinstance(error, Internal)
    assert error.reason == "INTERNAL_ERROR"
    assert "secret-host" not in str(caught.value) + str(caught.value.trailing_metadata())
    assert [line["exc_info"] for line in logs if line["event"] == "unexpected_error"] == [True]


async def test_the_cause_of_an_internal_error_is_logged(logs: list[Any]) -> None:
    async def act(_text: str) -> str:
        raise Internal("The drawer is stuck.") from OSError("disk 7")

    async with echoing(act) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.ask("unary_unary", "you")

    assert from_rpc(caught.value).message == "The drawer is stuck."
    assert [line["log_level"] for line in logs if line["event"] == "internal_error"] == ["error"]


@pytest.mark.parametrize("shape", STREAMED)
async def test_an_error_after_the_first_message_keeps_what_was_sent(shape: str) -> None:
    async with echoing(refuse) as client:
        call = client.start(shape, "cat")
        first = await call.read()
        with pytest.raises(aio.AioRpcError) as caught:
            await call.read()

    assert first.value == "cat"
    assert from_rpc(caught.value).reason == "TASK_NOT_FOUND"


@every_shape
async def test_the_request_id_is_kept_and_goes_along_with_the_calls_we_make(shape: str) -> None:
    seen: list[str] = []

    async def inner(_text: str) -> str:
        seen.append(context.request_id.get())
        return ""

    async with echoing(inner) as neighbour:

        async def outer(text: str) -> str:
            seen.append(context.request_id.get())
            return await neighbour.ask(shape if shape != "stream_stream" else "unary_unary", text)

        async with echoing(outer) as client:
            await client.ask(shape, "you", metadata=(("x-request-id", "req-42"),))

    assert seen == ["req-42", "req-42"]


@pytest.mark.parametrize("given", ["", "two words", "a" * 129, "a;b", "<script>"])
async def test_an_unsafe_request_id_is_replaced(given: str) -> None:
    async def tell(_text: str) -> str:
        return context.request_id.get()

    async with echoing(tell) as client:
        answer = await client.ask("unary_unary", "", metadata=(("x-request-id", given),))

    assert answer.startswith("req_")


async def test_two_calls_do_not_share_an_id() -> None:
    async def tell(_text: str) -> str:
        return context.request_id.get()

    async with echoing(tell) as client:
        answers = await asyncio.gather(*(client.ask("unary_unary", "") for _ in range(20)))

    assert len(set(answers)) == 20


@every_shape
async def test_the_log_line_holds_method_code_and_time(shape: str, logs: list[Any]) -> None:
    async with echoing(hello) as client:
        await client.ask(shape, "you")
        await eventually(lambda: rpcs(logs))

    (line,) = (line for line in logs if line["event"] == "rpc")
    assert (line["method"], line["code"]) == (f"/{SERVICE}/{shape}", "OK")
    assert line["ms"] >= 0


@every_shape
async def test_the_log_line_of_an_error_holds_its_code(shape: str, logs: list[Any]) -> None:
    async with echoing(refuse) as client:
        with pytest.raises(aio.AioRpcError):
            await client.ask(shape, "you")
        await eventually(lambda: rpcs(logs))

    assert rpcs(logs) == [(f"/{SERVICE}/{shape}", "NOT_FOUND")]


@every_shape
async def test_the_log_line_of_an_unexpected_exception_says_internal(shape: str, logs: list[Any]) -> None:
    async with echoing(fail) as client:
        with pytest.raises(aio.AioRpcError):
            await client.ask(shape, "you")
        await eventually(lambda: rpcs(logs))

    assert rpcs(logs) == [(f"/{SERVICE}/{shape}", "INTERNAL")]


async def cancelled(client: Client, shape: str, running: asyncio.Event) -> None:
    call = client.start(shape, "you")
    task = asyncio.ensure_future(drain(call, shape))
    await running.wait()
    call.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def drain(call: Any, shape: str) -> None:
    if shape in STREAMED:
        async for _ in call:
            pass
    else:
        await call


@every_shape
async def test_a_caller_that_hangs_up_cancels_the_work(shape: str, logs: list[Any]) -> None:
    running, stopped = asyncio.Event(), asyncio.Event()

    async def act(_text: str) -> str:
        running.set()
        try:
            return await hang("")
        finally:
            stopped.set()

    async with echoing(act) as client:
        await cancelled(client, shape, running)
        await stopped.wait()
        await eventually(lambda: rpcs(logs))

    assert rpcs(logs) == [(f"/{SERVICE}/{shape}", "CANCELLED")]
    assert not [line for line in logs if line["event"] == "unexpected_error"]


@every_shape
async def test_the_log_line_of_a_call_that_ran_out_of_time_says_so(shape: str, logs: list[Any]) -> None:
    async with echoing(hang) as client:
        with pytest.raises(aio.AioRpcError):
            await client.ask(shape, "you", timeout=0.1)
        await eventually(lambda: rpcs(logs))

    assert rpcs(logs) == [(f"/{SERVICE}/{shape}", "DEADLINE_EXCEEDED")]


@pytest.mark.parametrize("shape", ["unary_unary", "stream_unary"])
async def test_a_call_over_our_channels_has_a_deadline_even_when_none_was_named(shape: str) -> None:
    async def tell(_text: str) -> str:
        return str(context.time_remaining())

    async with echoing(tell) as client:
        remaining = float(await client.ask(shape, ""))

    assert 0 < remaining < 11


@pytest.mark.parametrize("shape", ["unary_stream", "stream_stream"])
async def test_a_stream_lasts_as_long_as_its_reader_and_so_do_the_calls_it_makes(shape: str) -> None:
    async def tell(_text: str) -> str:
        return str(context.time_remaining())

    async with echoing(tell) as client:
        assert await client.ask(shape, "") == "None"


async def test_an_absurd_deadline_is_cut() -> None:
    async def tell(_text: str) -> str:
        return str(context.time_remaining())

    async with echoing(tell) as client:
        remaining = float(await client.ask("unary_unary", "", timeout=1_000_000))

    assert 0 < remaining < 140


async def test_retry_after_reaches_the_caller() -> None:
    async def act(_text: str) -> str:
        raise Unavailable("Later.", retry_after=3)

    async with echoing(act) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.ask("unary_unary", "")

    assert from_rpc(caught.value).retry_after == 3


async def test_the_sender_of_a_refused_stream_hears_why_however_much_it_still_sends() -> None:
    refused, sent = asyncio.Event(), 0

    async def act(text: str) -> str:
        refused.set()
        return await refuse(text)

    async def messages() -> AsyncIterator[StringValue]:
        nonlocal sent
        yield StringValue(value="cat")
        await refused.wait()
        for sent in range(1, 101):  # noqa: B007 - counted
            yield StringValue(value="x" * 65_536)

    async with echoing(act, kind=Hasty) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.send("stream_unary", messages())

    assert from_rpc(caught.value).reason == "TASK_NOT_FOUND"
    assert sent == 100


async def test_a_refused_stream_that_never_ends_is_answered_after_a_while() -> None:
    async def messages() -> AsyncIterator[StringValue]:
        yield StringValue(value="cat")
        await asyncio.Event().wait()

    async with echoing(refuse, kind=Hasty, refused_stream_seconds=0.05) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.send("stream_unary", messages())

    assert from_rpc(caught.value).reason == "TASK_NOT_FOUND"
