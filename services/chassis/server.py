"""Runs a service: interceptors, health, reflection, supervised loops, signals and a graceful stop, all in one place."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import FileDescriptor
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from services.chassis.addresses import ListenPort
from services.chassis.callers import authorized
from services.chassis.draining import Arrivals, Draining
from services.chassis.health import NO_PARTS, Health, Ping, Readiness
from services.chassis.interceptors import INTERCEPTORS, REFUSED_STREAM_SECONDS, Interceptor, RefusedStreams, StreamLimit
from services.chassis.metrics import MetricsServer, Refresh, nothing
from services.chassis.settings import CommonSettings
from services.chassis.supervisor import Loop, supervised
from services.chassis.tls import InternalTls

MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # four times the largest chunk; files go in streams
MAX_CALLS = 1000  # beyond it callers are refused at once, instead of waiting in memory
MAX_STREAMS = 1000  # the same for answers that are streams, in places of their own: watchers do not go away
MAX_HEALTH_STREAMS = 200  # beside these: each connection of a client watches our health (channels.py)
WINDOW_BYTES = 1024 * 1024  # of a stream, in flight; gRPC's own estimate grows to 8 MB on loopback, a whole upload
# A connection ends after this age, so that clients ask DNS again and spread their calls over replicas that are new:
# they find one within 16.5 s (gRPC varies the age by a tenth) and the 5 s between two questions to DNS (channels.py).
CONNECTION_AGE_SECONDS = 15.0
# Calls that run when their connection is of age may go on: as long as the longest honest one, a download or an export.
AGED_CALL_SECONDS = 3600.0
KEEPALIVE_SECONDS, KEEPALIVE_ANSWER_SECONDS = 10.0, 5.0  # ends streams whose reader is cut off: they hold a place
LEAST_PING_SECONDS = 1.0  # between two keepalive pings of a client (channels.py: 3 s); who sends more is disconnected
OPTIONS: Mapping[str, Any] = {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.http2.bdp_probe": 0,
    "grpc.http2.lookahead_bytes": WINDOW_BYTES,
    "grpc.so_reuseport": 0,  # a second process on our port is a mistake that must show
    "grpc.max_connection_age_ms": int(CONNECTION_AGE_SECONDS * 1000),
    "grpc.max_connection_age_grace_ms": int(AGED_CALL_SECONDS * 1000),
    "grpc.keepalive_time_ms": int(KEEPALIVE_SECONDS * 1000),
    "grpc.keepalive_timeout_ms": int(KEEPALIVE_ANSWER_SECONDS * 1000),  # of the kernel: data that nobody confirms
    "grpc.http2.ping_timeout_ms": int(KEEPALIVE_ANSWER_SECONDS * 1000),  # of the other process; a minute by default
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,  # no bound: by default gRPC stops after two
    "grpc.http2.min_ping_interval_without_data_ms": int(LEAST_PING_SECONDS * 1000),
}
NO_OPTIONS: Mapping[str, Any] = {}
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"

logger = structlog.get_logger()


@dataclass(frozen=True)
class Mount:
    """A servicer, how its generated code registers it, and the file that describes it."""

    register: Callable[[Any, aio.Server], None]
    servicer: object
    descriptor: FileDescriptor

    @property
    def names(self) -> tuple[str, ...]:
        """Full names of the proto services in the descriptor."""
        return tuple(service.full_name for service in self.descriptor.services_by_name.values())


def names_of(mounts: Sequence[Mount]) -> list[str]:
    """Full names of the proto services of all mounts."""
    return [name for mount in mounts for name in mount.names]


def build(
    mounts: Sequence[Mount],
    health: Health,
    *,
    max_calls: int = MAX_CALLS,
    max_streams: int = MAX_STREAMS,
    refused_stream_seconds: float = REFUSED_STREAM_SECONDS,
    outermost: Sequence[aio.ServerInterceptor] = (),
    options: Mapping[str, Any] = NO_OPTIONS,
) -> aio.Server:
    """Make a server with the interceptor list, the mounted services, health and reflection; not started.

    `refused_stream_seconds` bounds how long the rest of a refused stream is read. `outermost` interceptors come before
    those of the list, `options` replace those of OPTIONS.
    """
    stream_limit = Interceptor(StreamLimit(max_streams), streams_only=True)
    server = aio.server(
        interceptors=[
            *outermost,
            *map(Interceptor, INTERCEPTORS),
            stream_limit,
            RefusedStreams(refused_stream_seconds),
            Interceptor(authorized),  # within the above, so that a refused upload still hears why
        ],
        options=list({**OPTIONS, **options}.items()),
        maximum_concurrent_rpcs=max_calls + max_streams + MAX_HEALTH_STREAMS,
    )
    for mount in mounts:
        mount.register(mount.servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    _reflect(server, [*names_of(mounts), health_pb2.DESCRIPTOR.services_by_name["Health"].full_name])
    return server


async def serve(
    settings: CommonSettings,
    listeners: Sequence[ListenPort],
    mounts: Sequence[Mount],
    tls: InternalTls | None,
    *,
    refresh: Refresh = nothing,
    loops: Sequence[Loop] = (),
    pings: Sequence[Ping] = (),
    parts: Mapping[str, Ping] = NO_PARTS,
    readiness: Readiness | None = None,
    on_drain: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain (draining.py), let running calls and loops finish, and return.

    `listeners` are that of gRPC and that of the metrics, whose gauges `refresh` looks up. With `tls` only processes
    that have a certificate are served, each with what callers.py lists. `on_drain` runs once draining has begun: it
    ends streams that would otherwise last as long as their readers. `readiness` is for who tells of it at another
    listener, whose callers cannot be watched: then all stay open for the whole drain.
    """
    health = Health(names_of(mounts), pings, parts, readiness)
    await health.start()
    arrivals, draining = Arrivals(), Draining.of(settings)
    server = build(mounts, health, outermost=[arrivals])
    address, metrics_address = map(settings.listens, listeners)
    listen(server, str(address), tls)
    metrics_server = MetricsServer(metrics_address, health.readiness, refresh)
    await server.start()
    logger.info("serving", address=str(address))
    async with supervised([*loops, metrics_server.run, health.watch]):
        await stop_signal()
        logger.info("draining")
        await health.drain()
        await (asyncio.sleep(draining.seconds) if readiness else arrivals.quiet(draining.seconds))
        on_drain()
        await server.stop(draining.grace)
    logger.info("stopped")


def listen(server: aio.Server, address: str, tls: InternalTls | None) -> int:
    """Have a server listen, by mutual TLS where there is one; the port. Raises RuntimeError when it is taken."""
    return server.add_secure_port(address, tls.server_credentials()) if tls else server.add_insecure_port(address)


async def stop_signal() -> None:
    """Wait for SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()


def _reflect(server: aio.Server, names: Sequence[str]) -> None:
    """Serve reflection for the named services.

    The library ships v1alpha only; v1's messages are the same on the wire, so the same handler answers there.
    """
    listed = [*names, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(listed, server)
    handler = grpc.stream_stream_rpc_method_handler(
        ReflectionServicer(service_names=listed).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(REFLECTION_V1, {"ServerReflectionInfo": handler}),)
    )
