"""A scraper reads on a real socket what happened on a real server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from grpc import aio
from prometheus_client import REGISTRY

from services.chassis import event_loop, metrics
from services.chassis.addresses import Address
from services.chassis.errors import NotFound
from services.chassis.health import Readiness
from services.chassis.metrics import MAX_REQUEST_BYTES, MetricsServer, Refresh, nothing
from services.chassis.supervisor import supervised
from tests.chassis.echo import SERVICE, SHAPES, echoing
from tests.support.polling import eventually
from tests.support.ports import free_port

ASKED = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n"
every_shape = pytest.mark.parametrize("shape", SHAPES)


async def hello(text: str) -> str:
    return f"hello {text}"


async def refuse(text: str) -> str:
    raise NotFound(f"no {text}")


def started(shape: str) -> float:
    labels = {"grpc_service": SERVICE, "grpc_method": shape}
    return REGISTRY.get_sample_value("grpc_server_started_total", labels) or 0.0


def handled(shape: str, code: str) -> float:
    labels = {"grpc_service": SERVICE, "grpc_method": shape, "grpc_code": code}
    return REGISTRY.get_sample_value("grpc_server_handled_total", labels) or 0.0


async def ask(address: str, request: bytes) -> bytes:
    """Everything that comes back on a connection."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


def listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
        return True
    return False


@asynccontextmanager
async def exposed(refresh: Refresh = nothing, readiness: Readiness | None = None) -> AsyncIterator[str]:
    """The address of a metrics port that is open."""
    address = Address("127.0.0.1", free_port())
    async with supervised([MetricsServer(address, readiness or Readiness(), refresh).run]):
        await eventually(lambda: listens(str(address)))
        yield str(address)


def lines(answer: bytes) -> list[str]:
    return answer.partition(b"\r\n\r\n")[2].decode().splitlines()


@every_shape
async def test_a_scrape_shows_each_call_begun_ended_and_measured(shape: str) -> None:
    before = started(shape)
    async with exposed() as address, echoing(hello) as client:
        await client.ask(shape, "you")
        await eventually(lambda: handled(shape, "OK") > 0)
        shown = lines(await ask(address, ASKED))

    method = f'grpc_method="{shape}",grpc_service="{SERVICE}"'
    assert f"grpc_server_started_total{{{method}}} {before + 1}" in shown
    assert f'grpc_server_handled_total{{grpc_code="OK",{method}}} {handled(shape, "OK")}' in shown
    assert any(line.startswith(f"grpc_server_handling_seconds_count{{{method}}}") for line in shown)


@every_shape
async def test_an_error_is_counted_with_the_code_the_caller_saw(shape: str) -> None:
    before = handled(shape, "NOT_FOUND")
    async with echoing(refuse) as client:
        with pytest.raises(aio.AioRpcError):
            await client.ask(shape, "you")
        await eventually(lambda: handled(shape, "NOT_FOUND") == before + 1)


async def test_a_method_that_does_not_exist_makes_no_label() -> None:
    async with echoing(hello) as client:
        call: Any = client.channel.unary_unary(f"/{SERVICE}/invented")
        with pytest.raises(aio.AioRpcError):
            await call(b"")

    assert started("invented") == 0


async def test_a_scrape_is_plain_text_that_tells_memory_too() -> None:
    async with exposed() as address:
        answer = await ask(address, ASKED)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines(answer))
    assert not [line for line in lines(answer) if line.partition("{")[0].split()[0].endswith("_created")]


@pytest.mark.parametrize(
    "request_line",
    ["GET / HTTP/1.1", "GET /metricsx HTTP/1.1", "POST /metrics HTTP/1.1", "GET", "\x00\xff nonsense", ""],
)
async def test_anything_else_is_404_and_shows_nothing(request_line: str) -> None:
    async with exposed() as address:
        answer = await ask(address, f"{request_line}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert lines(answer) == ["Not Found"]


async def test_a_head_that_is_too_long_is_refused_before_it_ends() -> None:
    async with exposed() as address:
        answer = await ask(address, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST_BYTES * 4)

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_sends_nothing_is_let_go_and_others_are_answered() -> None:
    async with exposed() as address:
        silent = asyncio.create_task(ask(address, b"GET /met"))
        answer = await ask(address, ASKED)

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert await silent == b""


async def test_a_process_measures_how_long_its_event_loop_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def late() -> float:
        on_time = REGISTRY.get_sample_value("kawaii_event_loop_lag_seconds_bucket", {"le": "0.05"}) or 0.0
        return (REGISTRY.get_sample_value("kawaii_event_loop_lag_seconds_count") or 0.0) - on_time

    monkeypatch.setattr(event_loop, "EVERY_SECONDS", 0.001)
    before = late()
    async with exposed() as address:
        while late() == before:
            time.sleep(0.06)  # noqa: ASYNC251 - holds the loop up
            await asyncio.sleep(0)
        shown = lines(await ask(address, ASKED))

    assert any(line.startswith("kawaii_event_loop_lag_seconds_count") for line in shown)


async def test_what_is_looked_up_is_fresh_at_each_scrape() -> None:
    looks: list[None] = []

    async def look() -> None:
        looks.append(None)

    async with exposed(look) as address:
        before = len(looks)
        await ask(address, ASKED)

    assert len(looks) == before + 1


async def test_counters_are_shown_while_what_is_looked_up_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REFRESH_SECONDS", 0.05)

    async with exposed(asyncio.Event().wait) as address:
        answer = await ask(address, ASKED)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"process_cpu_seconds_total" in answer


async def readyz(address: str) -> tuple[int, str]:
    answer = await ask(address, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode().strip()


async def test_a_process_is_ready_between_its_first_check_and_its_draining_and_says_when_a_dependency_is_away() -> None:
    readiness = Readiness()
    async with exposed(readiness=readiness) as address:
        assert await readyz(address) == (503, "starting")
        readiness.checked(well=True)
        assert await readyz(address) == (200, "serving")
        readiness.checked(well=False)
        assert await readyz(address) == (200, "degraded")
        readiness.drain()
        assert await readyz(address) == (503, "draining")
        readiness.checked(well=True)
        assert await readyz(address) == (503, "draining")
