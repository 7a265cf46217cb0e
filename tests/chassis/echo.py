"""A tiny service of all four RPC shapes, which does what the test tells it to, and a client that speaks each shape."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio

from services.chassis.channels import plain_channel
from services.chassis.health import Health
from services.chassis.server import Mount
from tests.support.servers import serving

SERVICE = "kawaii.test.Echo"
SHAPES = ("unary_unary", "stream_unary", "unary_stream", "stream_stream")
READ = "GetEcho"  # does what unary_unary does, under the name of a read
STREAMED = ("unary_stream", "stream_stream")
Act = Callable[[str], Awaitable[str]]


@cache
def descriptor() -> Any:
    """The service's file, as generated code would hold it."""
    file = descriptor_pb2.FileDescriptorProto(
        name="kawaii/test/echo.proto",
        package="kawaii.test",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    methods = file.service.add(name="Echo").method
    for shape in SHAPES:
        asks, answers = (word == "stream" for word in shape.split("_"))
        text = ".google.protobuf.StringValue"
        methods.add(name=shape, input_type=text, output_type=text, client_streaming=asks, server_streaming=answers)
    methods.add(name=READ, input_type=text, output_type=text)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(file.name)


class Echo:
    """Answers with what `act` makes of a request; its streams first send the request back."""

    def __init__(self, act: Act) -> None:
        self._act = act

    async def unary_unary(self, request: StringValue, _call: object) -> StringValue:
        return StringValue(value=await self._act(request.value))

    async def stream_unary(self, requests: AsyncIterable[StringValue], _call: object) -> StringValue:
        return StringValue(value=await self._act("".join([request.value async for request in requests])))

    async def unary_stream(self, request: StringValue, _call: object) -> AsyncIterator[StringValue]:
        yield request
        yield StringValue(value=await self._act(request.value))

    async def stream_stream(self, requests: AsyncIterable[StringValue], _call: object) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield request
            yield StringValue(value=await self._act(request.value))


class Hasty(Echo):
    """An Echo that answers a stream by its first message alone."""

    async def stream_unary(self, requests: AsyncIterable[StringValue], _call: object) -> StringValue:
        async for request in requests:
            return StringValue(value=await self._act(request.value))
        raise AssertionError("nothing was sent")


def register(echo: Echo, server: aio.Server) -> None:
    """What generated code would call add_EchoServicer_to_server."""
    codec = {
        "request_deserializer": StringValue.FromString,
        "response_serializer": StringValue.SerializeToString,
    }
    handlers = {shape: getattr(grpc, f"{shape}_rpc_method_handler")(getattr(echo, shape), **codec) for shape in SHAPES}
    handlers[READ] = handlers["unary_unary"]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def mount(act: Act, kind: type[Echo] = Echo) -> Mount:
    """The service, ready for the chassis."""
    return Mount(register, kind(act), descriptor())


class Client:
    """Speaks each shape with the same words."""

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel

    def start(self, shape: str, text: str, **options: Any) -> Any:
        """Start a call."""
        request = StringValue(value=text)
        return self.send(shape, _once(request) if shape.startswith("stream") else request, **options)

    def send(self, shape: str, asked: StringValue | AsyncIterator[StringValue], **options: Any) -> Any:
        """Start a call with a request, or a stream of them."""
        codec = {
            "request_serializer": StringValue.SerializeToString,
            "response_deserializer": StringValue.FromString,
        }
        kind = "unary_unary" if shape == READ else shape
        return getattr(self.channel, kind)(f"/{SERVICE}/{shape}", **codec)(asked, **options)

    async def ask(self, shape: str, text: str, **options: Any) -> str:
        """The last message of the answer."""
        call = self.start(shape, text, **options)
        if shape not in STREAMED:
            return str((await call).value)
        return str([message.value async for message in call][-1])


async def _once(request: StringValue) -> AsyncIterator[StringValue]:
    yield request


@asynccontextmanager
async def echoing(
    act: Act, health: Health | None = None, kind: type[Echo] = Echo, **bounds: Any
) -> AsyncIterator[Client]:
    """A server that rides on the whole chassis, and a client through the chassis' own channel."""
    async with serving(mount(act, kind), health=health, **bounds) as address, plain_channel(address) as channel:
        yield Client(channel)
