"""Channels to the services: calls are spread over the replicas of a service, and each carries deadline and request id.

A channel asks every replica of its target for its health, for as long as the connection lasts, and gives calls in turn
to those that say SERVING: one that starts, drains, or has lost its database gets none while another can answer. While
no replica says SERVING, calls go to those that can be reached, whose answers say what is wrong. Where no replica can
be reached, calls fail at once with UNAVAILABLE, and nothing waits for one to come back (`wait_for_ready` is for reads
whose caller prefers late to never).

How a change among the replicas is noticed: the health of a connection is pushed; servers end each connection after some
seconds of age (server.py), whereupon gRPC asks DNS again; and keepalive ends a connection whose other end is silent.

A read that one replica leaves unanswered goes to another (repeated_reads.py). No other call is made twice, but in one
case by gRPC itself: the server has said that it never looked at it, because the call crossed the end of its connection
on the wire.

With mutual TLS a channel has the certificate with which it was opened. When the files change, new calls go through a
new one, and the old one is closed after its last call.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from weakref import WeakSet

import grpc
import structlog
from grpc import aio

from services.chassis import context
from services.chassis.errors import DeadlineExceeded
from services.chassis.interceptors import REQUEST_ID_KEY
from services.chassis.repeated_reads import LEAST_SECONDS, RepeatBudget, is_read, read
from services.chassis.server import MAX_MESSAGE_BYTES, WINDOW_BYTES
from services.chassis.settings import CommonSettings
from services.chassis.supervisor import supervised
from services.chassis.tls import dns_name, internal_tls

DEFAULT_SECONDS = 10.0  # what a call may take when neither the caller nor its own caller says
HOP_SECONDS = 0.05  # kept back at each hop, so that the inner call fails first and can be explained
RESOLVE_SECONDS = 5.0  # DNS is asked no more often than this, and at the latest when the next connection ends of age
# A connection is dead when a ping is not answered. Both together are less than DEFAULT_SECONDS, so that callers hear of
# a host that is cut off before their own time is over, and more than a busy machine needs.
KEEPALIVE_SECONDS, KEEPALIVE_ANSWER_SECONDS = 3.0, 4.0
CONNECT_SECONDS = 5.0  # TCP, TLS and HTTP/2 take four round trips: 2 s on a line with 200 ms and a lost packet
RETIRED_SECONDS = 3600.0  # a channel with a certificate that was replaced is closed then, whatever it still carries
RETIRED_LOOK_SECONDS = 1.0  # whether its last call has ended
Options = Sequence[tuple[str, Any]]
OPTIONS: Options = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),  # a restarted service is found again at once
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_SECONDS * 1000)),  # despite its name the time-out of one attempt
    ("grpc.dns_min_time_between_resolutions_ms", int(RESOLVE_SECONDS * 1000)),
    ("grpc.service_config_disable_resolution", 1),  # whoever writes our DNS records chooses addresses, not our policy
    ("grpc.keepalive_time_ms", int(KEEPALIVE_SECONDS * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_ANSWER_SECONDS * 1000)),  # of the kernel: data that nobody confirms
    ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_ANSWER_SECONDS * 1000)),  # of the other process; a minute by default
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # no bound: by default gRPC stops after two
    ("grpc.client_idle_timeout_ms", 2**31 - 1),  # never: the health of replicas is known when the next call comes
    # Without a policy for repeating, this repeats what the module's docstring says, and nothing else.
    ("grpc.enable_retries", 1),
    # No connection is shared with another channel, as those with equal arguments do by default. When a shared one
    # becomes ready, gRPC crashes the process if a channel asks for its health just when another has registered a
    # HealthProducer and not yet started it: the constructor of HealthChecker then reads a null subchannel_. Seen in
    # 1.85.1 and 1.85.3, after 600 to 21,600 connections. Source: HealthWatcher::SetSubchannel in
    # https://github.com/grpc/grpc/blob/master/src/core/load_balancing/health_check_client.cc
    ("grpc.use_local_subchannel_pool", 1),
)
IN_TURN: Mapping[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
IN_TURN_IF_SERVING: Mapping[str, Any] = {**IN_TURN, "healthCheckConfig": {"serviceName": ""}}

logger = structlog.get_logger()


def timeout_of(asked: float | None) -> float:
    """Seconds a call may take: what was asked, within what the current call has left.

    Raises:
        DeadlineExceeded: less than LEAST_SECONDS remain.
    """
    remaining = context.time_remaining()
    if remaining is None:
        return DEFAULT_SECONDS if asked is None else asked
    left = remaining - HOP_SECONDS
    if left < LEAST_SECONDS:
        raise DeadlineExceeded("There was no time left to ask the next service. Try again.")
    return left if asked is None else min(asked, left)


def metadata_of(given: Any) -> Any:
    """A call's metadata with the request id of the call that is being answered."""
    if not (identifier := context.request_id.get()):
        return given
    metadata = aio.Metadata(*(given or ()))
    metadata.set_all(REQUEST_ID_KEY, [identifier])
    return metadata


class Connection:
    """The connections to all replicas, made with one set of credentials.

    Two of gRPC's channels have them, each its own: `serving` asks for health and avoids replicas that do not serve,
    `reachable` takes any.
    """

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None, options: Options) -> None:
        self._calls: WeakSet[Any] = WeakSet()
        self._serving, self._reachable = (
            _open(target, credentials, [*options, ("grpc.service_config", json.dumps(config))])
            for config in (IN_TURN_IF_SERVING, IN_TURN)
        )

    def __iter__(self) -> Iterator[aio.Channel]:
        yield from (self._reachable, self._serving)

    @property
    def serves(self) -> bool:
        """Whether some replica says SERVING; asking begins to connect where that has not been done.

        A call that begins just when the last one stops to say so fails with UNAVAILABLE, unsent.
        """
        return self._serving.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    @property
    def calls(self) -> int:
        """How many calls are under way."""
        return sum(not call.done() for call in self._calls)

    def keep(self, call: Any) -> Any:
        """A call that has begun, noted; nothing holds it here, so that one whose caller drops it is cancelled."""
        self._calls.add(call)
        return call

    async def close(self) -> None:
        """Close both; calls that are under way are cancelled."""
        for channel in self:
            await channel.close()


def _open(target: str, credentials: grpc.ChannelCredentials | None, options: Options) -> aio.Channel:
    if credentials is None:
        return aio.insecure_channel(target, options=options)
    return aio.secure_channel(target, credentials, options=options)


class Method:
    """One RPC of a channel, as stubs call it. `bounded` ones get a deadline: those that answer with one message.

    Answers that are streams live as long as their reader. Of a read the answer is awaited, and there is no call to ask
    for more: it may be more than one.
    """

    def __init__(self, channel: "Channel", shape: str, arguments: tuple[Any, ...], *, bounded: bool) -> None:
        self._channel = channel
        self._shape = shape
        self._arguments = arguments
        self._bounded = bounded
        self._is_read = shape == "unary_unary" and is_read(arguments[0])
        self._connection: Connection | None = None
        self._callables: list[Any] = []

    def __call__(
        self, request: Any = None, *, timeout: float | None = None, metadata: Any = None, **others: Any
    ) -> Any:
        """Begin a call. Raises DeadlineExceeded: the call that is being answered leaves no time for it."""
        if not self._bounded:
            return self._begin(request, timeout, metadata, others)
        timeout = timeout_of(timeout)
        if not self._is_read:
            return self._begin(request, timeout, metadata, others)
        return read(lambda seconds: self._begin(request, seconds, metadata, others), timeout, self._channel.repeats)

    def _begin(self, request: Any, timeout: float | None, metadata: Any, others: Mapping[str, Any]) -> Any:
        connection = self._channel.connection
        if connection is not self._connection:
            self._callables = [getattr(each, self._shape)(*self._arguments) for each in connection]
            self._connection = connection
        begin = self._callables[connection.serves]
        return connection.keep(begin(request, timeout=timeout, metadata=metadata_of(metadata), **others))


class Channel(aio.Channel):
    """A channel to the replicas of one service; stubs are made on it as on gRPC's own."""

    def __init__(self, opened: Callable[[], Connection]) -> None:
        self.connection = opened()
        self._opened = opened
        self._retiring: set[asyncio.Task[None]] = set()
        self.repeats = RepeatBudget()

    @property
    def retiring(self) -> int:
        """How many replaced connections have calls under way still."""
        return len(self._retiring)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """An RPC with one request and one answer."""
        return self._method("unary_unary", *args, **kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """An RPC that uploads."""
        return self._method("stream_unary", *args, **kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """An RPC that downloads or watches."""
        return self._method("unary_stream", *args, **kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """An RPC with streams both ways."""
        return self._method("stream_stream", *args, **kwargs)

    def replace(self) -> None:
        """Open anew for new calls, and close what is there after its last call."""
        retired, self.connection = self.connection, self._opened()
        task = asyncio.create_task(_retire(retired))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self, grace: float | None = None) -> None:
        """Close everything; calls that are under way are cancelled."""
        del grace
        retiring = list(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        await self.connection.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's
        """READY while some replica can be reached."""
        reachable, _ = self.connection
        return reachable.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until `get_state` says something else."""
        reachable, _ = self.connection
        await reachable.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until some replica can be reached."""
        reachable, _ = self.connection
        await reachable.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _method(
        self,
        shape: str,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = None,  # noqa: FBT001 - what generated stubs pass
    ) -> Method:
        return Method(self, shape, (method, request_serializer, response_deserializer), bounded=shape.endswith("unary"))


async def _retire(connection: Connection) -> None:
    """Close a connection after its last call, or after RETIRED_SECONDS."""
    try:
        async with asyncio.timeout(RETIRED_SECONDS):
            while connection.calls:  # noqa: ASYNC110 - calls that are dropped set no event
                await asyncio.sleep(RETIRED_LOOK_SECONDS)
    except TimeoutError:
        logger.warning("channel_closed_under_calls", calls=connection.calls, seconds=RETIRED_SECONDS)
    finally:
        await connection.close()


@asynccontextmanager
async def connect(settings: CommonSettings, service: str) -> AsyncIterator[Channel]:
    """Open a channel to a service of the stack, with TLS where the settings have it.

    It connects when first used, and again by itself. The target may be one DNS name, all of whose addresses are
    replicas, or a list of IP addresses: gRPC knows no list of names (services/chassis/addresses.py refuses them).
    """
    tls, target = internal_tls(settings), settings.target(service)
    if tls is None:
        async with plain_channel(target) as channel:
            yield channel
        return
    options = [*OPTIONS, ("grpc.ssl_target_name_override", dns_name(service))]

    async def follow() -> None:
        async for _ in tls.watch():
            channel.replace()
            logger.info("channel_replaced", service=service)

    async with Channel(lambda: Connection(target, tls.channel_credentials(), options)) as channel, supervised([follow]):
        yield channel


def plain_channel(target: str) -> Channel:
    """A channel without TLS to whatever answers at a gRPC target; the caller closes it."""
    return Channel(lambda: Connection(target, None, OPTIONS))
