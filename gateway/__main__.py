"""Starts the gateway: settings, channels, application, server, in a straight line."""

import asyncio
import math
import signal
import socket
from functools import partial

import uvicorn
import uvloop
from kawaii.share.v1.share_pb2 import DESCRIPTOR
from starlette.types import ASGIApp

from gateway.app import make_app
from gateway.clients.stubs import open_clients
from gateway.response_cache import ByteCache
from gateway.rest.rate_limits import open_buckets
from gateway.routes.health import OwnReadiness
from gateway.settings import GatewaySettings
from services.chassis.addresses import ListenPort
from services.chassis.callers import ENVOY
from services.chassis.draining import GRACE_SECONDS, Draining
from services.chassis.event_loop import freeze_startup_objects
from services.chassis.health import Readiness
from services.chassis.invalidation import open_invalidations
from services.chassis.logs import configure
from services.chassis.metrics import MetricsServer
from services.chassis.redis_url import require_redis
from services.chassis.settings import load, require_addresses
from services.chassis.supervisor import supervised
from services.chassis.tls import InternalTls, require_tls

LISTENERS = (ListenPort.GATEWAY, ListenPort.GATEWAY_METRICS)
SERVICES = ("generation", "storage", "share", "community")
SHARES = DESCRIPTOR.services_by_name["ShareService"].full_name  # its changes are announced under this name
# Far above Envoy's four, so that it is never us who closes a connection that Envoy uses, not even when we get no time
# for seconds on a busy machine: then we find a request and the end of this time at once, and the latter goes first.
KEEP_ALIVE_SECONDS = 120
BACKLOG = 4096  # connections that wait while we are busy; Linux allows no more by default


class Server(uvicorn.Server):
    """uvicorn's server, which sets `leaving` when it stops: open streams end, and do not delay the stop.

    Before that it serves for the seconds of `draining`, in which Envoy sees that it drains and sends no more requests.
    """

    def __init__(
        self, config: uvicorn.Config, leaving: asyncio.Event, readiness: Readiness, draining: Draining
    ) -> None:
        super().__init__(config)
        self._draining = draining
        self._leaving = leaving
        self._readiness = readiness

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and be ready from then on."""
        await super().startup(sockets)
        self._readiness.checked(well=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let Envoy go elsewhere and the streams end, then stop as usual.

        Each answer meanwhile closes its connection, so that in the end none is closed on which Envoy is about to send.
        """
        self._readiness.drain()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(self._draining.seconds)
        self._leaving.set()
        await super().shutdown(sockets)


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = load(GatewaySettings)
    configure(settings.log_level, settings.log_format, "gateway")
    require_addresses(settings, LISTENERS, SERVICES)
    tls = require_tls(settings, "gateway")
    require_redis(settings)
    freeze_startup_objects()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has stopped, which must not kill us before the channels are closed
        signal.signal(number, lambda *_: None)
    leaving = asyncio.Event()
    readiness = Readiness()
    metrics_server = MetricsServer(settings.listens(ListenPort.GATEWAY_METRICS), readiness)
    kept = ByteCache(settings.read_cache_seconds, settings.read_cache_bytes)
    async with (
        open_clients(settings) as clients,
        open_invalidations(settings.effective_redis_url, SHARES) as shares,
        open_buckets(settings.effective_redis_url) as buckets,
    ):
        app = make_app(settings, clients, leaving, kept, buckets)
        async with supervised([metrics_server.run, partial(shares.listen, lambda _notice: kept.clear())]):
            draining = Draining.of(settings)
            config = configuration(settings, OwnReadiness(app, readiness), tls, draining.grace)
            await Server(config, leaving, readiness, draining).serve()


def configuration(
    settings: GatewaySettings, app: ASGIApp, tls: InternalTls | None = None, grace: float = GRACE_SECONDS
) -> uvicorn.Config:
    """The configuration of uvicorn behind Envoy, which with `tls` is the only one that may connect.

    Requests that run when it stops have `grace` seconds to finish.
    """
    address = settings.listens(ListenPort.GATEWAY)
    context = tls.server_context("gateway", ENVOY) if tls else None
    return uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=BACKLOG,
        timeout_graceful_shutdown=math.ceil(grace),
        ssl_context_factory=(lambda *_: context) if context else None,
    )


if __name__ == "__main__":
    uvloop.run(main())
