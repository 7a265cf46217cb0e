"""Each toxic does to a connection what its name says, and a seed brings the same ones back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import ToxicProxy

REPLY = bytes(range(256)) * 8  # longer than any cut


@asynccontextmanager
async def proxied(mix: Mapping[str, float]) -> AsyncIterator[ToxicProxy]:
    """A proxy before a server that answers every line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            writer.write(REPLY)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy = ToxicProxy(server.sockets[0].getsockname()[1], "seed", mix)
    await proxy.up()
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()


async def request(proxy: ToxicProxy) -> bytes:
    """What a client reads before the connection ends; a reset raises."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"x" * 1000 + b"\n")
    try:
        return await reader.read(-1)
    finally:
        writer.close()


@pytest.mark.parametrize("mix", [{}, {"latency": 1.0}, {"slicer": 1.0}])
async def test_what_only_delays_lets_every_byte_through(mix: Mapping[str, float]) -> None:
    async with proxied(mix) as proxy:
        assert await request(proxy) == REPLY
        assert proxy.calls[0].answer == REPLY


async def test_limit_data_ends_the_answer_early() -> None:
    async with proxied({"limit_data": 1.0}) as proxy:
        answer = await request(proxy)

        assert answer == REPLY[: proxy.calls[0].cut]
        assert len(answer) < len(REPLY)


async def test_timeout_swallows_the_answer() -> None:
    async with proxied({"timeout": 1.0}) as proxy:
        assert await request(proxy) == b""
        assert len(proxy.calls[0].request) == 1001


async def test_reset_peer_resets_on_the_way_there_or_back() -> None:
    async with proxied({"reset_peer": 1.0}) as proxy:
        for _ in range(6):
            with pytest.raises(ConnectionResetError):
                await request(proxy)

        assert {bool(call.answer) for call in proxy.calls} == {True, False}


async def test_down_refuses_and_up_serves_again() -> None:
    async with proxied({}) as proxy:
        await proxy.down()
        with pytest.raises(ConnectionRefusedError):
            await request(proxy)
        await proxy.up()

        assert await request(proxy) == REPLY


async def test_a_seed_brings_the_same_toxics_back() -> None:
    mix = {"slicer": 0.5}
    seen = []
    for _ in range(2):
        async with proxied(mix) as proxy:
            for _ in range(8):
                await request(proxy)
            seen.append([call.toxic for call in proxy.calls])

    assert seen[0] == seen[1]
    assert set(seen[0]) == {"", "slicer"}
