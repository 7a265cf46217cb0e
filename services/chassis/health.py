"""gRPC health: NOT_SERVING until the pings answer, while they fail, and from the first SIGTERM on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

Ping = Callable[[], Awaitable[None]]

NO_PARTS: Mapping[str, Ping] = {}
STARTING, SERVING, DEGRADED, DRAINING = "starting", "serving", "degraded", "draining"
READY_PATH = "/-/ready"  # where Envoy asks the gateway and storage's files, on the port to which it sends requests
PING_SECONDS = 5.0  # how late an outage may show; a ping costs one trivial query
PING_TIMEOUT_SECONDS = 2.0  # a dependency slower than this is of no use

logger = structlog.get_logger()


class Readiness:
    """Whether a process takes work, for /readyz: its own ability, whatever becomes of what it depends on.

    An orchestrator removes a process that is not ready. If a dependency that is away made it so, one dead service
    would remove all its callers; so such a process is ready, and says `degraded`.
    """

    def __init__(self) -> None:
        self.word = STARTING

    @property
    def ready(self) -> bool:
        """True from the first check until the process drains."""
        return self.word in {SERVING, DEGRADED}

    def checked(self, *, well: bool) -> None:
        """Take down the result of a check; a process that drains goes on draining."""
        if self.word != DRAINING:
            self.word = SERVING if well else DEGRADED

    def drain(self) -> None:
        """Not ready any more, for good."""
        self.word = DRAINING


class Health:
    """Flips grpc.health.v1 for the server ("") and each of its services by what the pings say.

    Parts are health names of their own: while one fails the service is degraded, says so under that name, and serves.
    """

    def __init__(
        self,
        services: Sequence[str],
        pings: Sequence[Ping],
        parts: Mapping[str, Ping] = NO_PARTS,
        readiness: Readiness | None = None,
    ) -> None:
        self.servicer = HealthServicer()
        self._services = ("", *services)
        self._pings = pings
        self._parts = parts
        self.readiness = readiness or Readiness()

    async def watch(self) -> None:
        """Ping for ever."""
        while True:
            await self.check()
            await asyncio.sleep(PING_SECONDS)

    async def check(self) -> None:
        """Ping once and show the result."""
        answers = await asyncio.gather(*map(self._answers, (*self._parts.values(), *self._pings)))
        healthy = all(answers[len(self._parts) :])
        self.readiness.checked(well=all(answers))
        await self._show(self._services, serving=healthy)
        for part, answered in zip(self._parts, answers, strict=False):
            await self._show([part], serving=healthy and answered)

    async def drain(self) -> None:
        """Say NOT_SERVING from now on, whatever the pings say; even a check that runs at this moment."""
        self.readiness.drain()
        await self.servicer.enter_graceful_shutdown()

    async def start(self) -> None:
        """Say NOT_SERVING until the first check: grpc's servicer would begin with SERVING."""
        await self._show((*self._services, *self._parts), serving=False)

    async def _show(self, services: Sequence[str], *, serving: bool) -> None:
        response = health_pb2.HealthCheckResponse
        for service in services:
            await self.servicer.set(service, response.SERVING if serving else response.NOT_SERVING)

    async def _answers(self, ping: Ping) -> bool:
        try:
            async with asyncio.timeout(PING_TIMEOUT_SECONDS):
                await ping()
        except Exception:  # a supervisor: whatever a ping raises means unhealthy
            logger.warning("ping_failed", ping=getattr(ping, "__qualname__", "ping"), exc_info=True)
            return False
        return True
