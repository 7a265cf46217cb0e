"""A service stops gracefully: it says so, finishes what runs, and ends with success."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from services.chassis.channels import plain_channel
from services.chassis.draining import QUIET_SECONDS, Arrivals
from services.chassis.errors import ResourceExhausted
from services.chassis.health import Health
from services.chassis.interceptors import STREAMS_RETRY_SECONDS
from services.chassis.server import build
from services.chassis.status import translated
from tests.chassis.echo import READ, SERVICE, Client, echoing, mount
from tests.support.polling import DEADLINE_SECONDS, eventually
from tests.support.ports import free_port
from tests.support.servers import serving

ROOT = Path(__file__).parents[2]


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def process(address: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A real process of the chassis."""
    ports = {"LISTEN_PORT": address.rpartition(":")[2], "METRICS_PORT": str(free_port())}
    with subprocess.Popen([sys.executable, "-m", "tests.chassis.program"], cwd=ROOT, env=os.environ | ports) as running:
        yield running
        running.kill()


async def healthy(channel: aio.Channel, wanted: int) -> None:
    """Wait until the process says of itself what is wanted."""
    stub = health_pb2_grpc.HealthStub(channel)

    async def there() -> bool:
        return await said(stub) == wanted

    await eventually(there)


async def said(stub: health_pb2_grpc.HealthStub) -> int:
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest())
    except aio.AioRpcError:
        return int(health_pb2.HealthCheckResponse.UNKNOWN)
    return int(answer.status)


async def test_a_running_call_outlives_the_signal_to_stop(
    process: "subprocess.Popen[bytes]", address: str, tmp_path: Path
) -> None:
    async with plain_channel(address) as channel:
        await healthy(channel, health_pb2.HealthCheckResponse.SERVING)
        call = Client(channel).start("unary_stream", str(tmp_path / "go"))
        await call.read()
        process.terminate()
        await healthy(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
        (tmp_path / "go").touch()
        answer = await call.read()

    assert answer.value == "finished"
    assert await asyncio.to_thread(process.wait, DEADLINE_SECONDS) == 0


async def test_a_second_process_on_the_port_is_refused() -> None:
    async def act(text: str) -> str:
        return text

    first, second = build([mount(act)], Health([], [])), build([mount(act)], Health([], []))
    port = first.add_insecure_port("127.0.0.1:0")
    await first.start()

    with pytest.raises(RuntimeError):
        second.add_insecure_port(f"127.0.0.1:{port}")

    await first.stop(None)
    await second.stop(None)


async def test_a_message_beyond_the_limit_is_refused() -> None:
    async def act(text: str) -> str:
        return str(len(text))

    async with serving(mount(act)) as address, aio.insecure_channel(address) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await Client(channel).ask("unary_unary", "x" * (4 * 1024 * 1024 + 1))

    assert caught.value.code().name == "RESOURCE_EXHAUSTED"


async def test_watchers_do_not_take_the_places_of_short_calls() -> None:
    """Streams have places of their own; who finds none is told when to come again, and a place comes back."""
    released = asyncio.Event()

    async def act(text: str) -> str:
        if text == "watch":
            await released.wait()
        return text

    async with serving(mount(act), max_calls=1, max_streams=3) as address, plain_channel(address) as channel:
        client = Client(channel)
        watches = [aiter(client.start("unary_stream", "watch")) for _ in range(3)]
        for watch in watches:
            await anext(watch)
        with pytest.raises(ResourceExhausted) as refused, translated():
            await client.ask("stream_stream", "watch")
        short = [await client.ask(shape, "hello") for shape in ("unary_unary", "stream_unary")]
        released.set()
        ended = [[message.value async for message in watch] for watch in watches]
        again = await client.ask("unary_stream", "hello")

    assert (refused.value.reason, refused.value.retry_after) == ("TOO_MANY_STREAMS", STREAMS_RETRY_SECONDS)
    assert (short, again) == (["hello", "hello"], "hello")
    assert ended == [["watch"]] * 3


NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


async def ask(
    reflection: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    """One question by a raw stream call."""

    async def act(text: str) -> str:
        return text

    async with echoing(act) as client:
        call = client.channel.stream_stream(
            f"/{reflection}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(request)
        answer = await call.read()
        await call.done_writing()
    return answer


@pytest.mark.parametrize("reflection", NAMES)
async def test_every_service_is_listed(reflection: str) -> None:
    answer = await ask(reflection, reflection_pb2.ServerReflectionRequest(list_services=""))

    listed = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health", NAMES[1]} <= listed


@pytest.mark.parametrize("reflection", NAMES)
async def test_a_service_is_described(reflection: str) -> None:
    answer = await ask(reflection, reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE))

    (first, *_) = answer.file_descriptor_response.file_descriptor_proto
    file = descriptor_pb2.FileDescriptorProto.FromString(first)
    assert [method.name for method in file.service[0].method] == [
        "unary_unary",
        "stream_unary",
        "unary_stream",
        "stream_stream",
        READ,
    ]


async def test_a_server_that_drains_waits_until_its_callers_have_turned_away() -> None:
    """Calls for health do not count, and who goes on calling does not hold up the stop beyond the bound."""

    async def act(text: str) -> str:
        return text

    async def call(shape: str) -> None:
        while True:
            await client.ask(shape, "hello")

    arrivals = Arrivals()
    server = build([mount(act)], Health([], []), outermost=[arrivals])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        client = Client(channel)
        calling = asyncio.create_task(call("unary_unary"))
        waiting = asyncio.create_task(arrivals.quiet(DEADLINE_SECONDS))
        bounded = asyncio.create_task(arrivals.quiet(2 * QUIET_SECONDS))
        await bounded
        held_up = not waiting.done()
        calling.cancel()
        health = health_pb2_grpc.HealthStub(channel)
        while not waiting.done():
            await health.Check(health_pb2.HealthCheckRequest())
    await server.stop(None)

    assert held_up
