"""Serves gRPC services of a test in this process, with all that the chassis puts around a service."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from services.chassis.health import Health
from services.chassis.server import (
    MAX_CALLS,
    MAX_STREAMS,
    NO_OPTIONS,
    REFUSED_STREAM_SECONDS,
    Mount,
    build,
    listen,
    names_of,
)
from services.chassis.tls import InternalTls

FREE_PORT = "127.0.0.1:0"


@asynccontextmanager
async def serving(
    *mounts: Mount,
    address: str = FREE_PORT,
    health: Health | None = None,
    max_calls: int = MAX_CALLS,
    max_streams: int = MAX_STREAMS,
    refused_stream_seconds: float = REFUSED_STREAM_SECONDS,
    tls: InternalTls | None = None,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> AsyncIterator[str]:
    """Serve these mounts on real interceptors; yields host:port, and stops without grace."""
    server = build(
        mounts,
        health or Health(names_of(mounts), []),
        max_calls=max_calls,
        max_streams=max_streams,
        refused_stream_seconds=refused_stream_seconds,
        options=options,
    )
    host, port = address.rsplit(":", 1)[0], listen(server, address, tls)
    await server.start()
    try:
        yield f"{host}:{port}"
    finally:
        await server.stop(None)
