"""How a process stops without a failed call: it says so, serves until its callers have turned away, and finishes.

On SIGTERM the process says that it drains: gRPC's health NOT_SERVING, which is pushed to every client (channels.py),
and /readyz 503, which Envoy and orchestrators ask for. It goes on taking calls for some seconds, since a caller that
has not heard yet must not find a closed port. Then it listens no more, and the calls that run have some seconds to
finish.
"""

import asyncio
import time
from typing import Any, NamedTuple

import grpc
from grpc import aio

from services.chassis.addresses import is_loopback
from services.chassis.interceptors import QUIET_METHODS
from services.chassis.settings import CommonSettings

# Of a process that other machines reach. Envoy asks each second, and believes the second answer of a kind.
DRAIN_SECONDS = 5.0
GRACE_SECONDS = 20.0  # a call may take 10 s (channels.py); with the drain it fits in the 30 s that orchestrators give
# On one machine there is no second replica to turn to, and the launcher gives ten seconds for the whole stop.
LOOPBACK_DRAIN_SECONDS, LOOPBACK_GRACE_SECONDS = 0.2, 8.0
QUIET_SECONDS = 1.0  # without a call: all clients have heard, on a line with 200 ms and a packet that was lost, too


class Draining(NamedTuple):
    """The seconds for which a process that stops takes calls, and then those that running calls have to finish."""

    seconds: float
    grace: float

    @classmethod
    def of(cls, settings: CommonSettings) -> "Draining":
        """What DRAIN_SECONDS and STOP_GRACE_SECONDS say, or what suits the address at which the process listens."""
        local = is_loopback(str(settings.listen_host))
        seconds = LOOPBACK_DRAIN_SECONDS if local else DRAIN_SECONDS
        grace = LOOPBACK_GRACE_SECONDS if local else GRACE_SECONDS
        given = settings.drain_seconds, settings.stop_grace_seconds
        return cls(seconds if given[0] is None else given[0], grace if given[1] is None else given[1])


class Arrivals(aio.ServerInterceptor):
    """Notes when the last call of a gRPC server began; those for health and reflection are no work."""

    def __init__(self) -> None:
        self._latest = 0.0

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Note the call, and pass it on."""
        if not str(handler_call_details.method).startswith(QUIET_METHODS):
            self._latest = time.monotonic()
        return await continuation(handler_call_details)

    async def quiet(self, most: float) -> None:
        """Wait until no call has come for QUIET_SECONDS from now on, but `most` seconds at most."""
        now = time.monotonic()
        begin, end = now, now + most
        while (until := min(end, max(begin, self._latest) + QUIET_SECONDS)) > now:
            await asyncio.sleep(until - now)
            now = time.monotonic()
