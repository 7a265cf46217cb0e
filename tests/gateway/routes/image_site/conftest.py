"""The gateway on a real port, and patience that looks instead of sleeping."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from gateway.__main__ import Server
from gateway.app import make_app
from gateway.settings import GatewaySettings
from services.chassis.draining import Draining
from services.chassis.health import Readiness
from tests.gateway.conftest import Doubles

DEADLINE_SECONDS = 10.0
LOOK_SECONDS, LOOKS = 0.01, 1000


@dataclass(frozen=True)
class Live:
    """A gateway that serves, and a client of it."""

    server: Server
    serving: "asyncio.Task[None]"
    http: httpx.AsyncClient

    async def stop(self) -> None:
        """Stop as a SIGTERM would."""
        self.server.should_exit = True
        await self.serving


Serve = Callable[..., Live]


@pytest.fixture
async def serve_with(doubles: Doubles) -> AsyncIterator[Serve]:
    """Serve with other settings."""
    async with AsyncExitStack() as stack:

        def serve(drain_seconds: float = 0, **settings: float) -> Live:
            listener, leaving = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
            app = make_app(GatewaySettings(**settings), doubles.clients, leaving)  # type: ignore[arg-type] # names differ by test
            config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off")
            server = Server(config, leaving, Readiness(), Draining(drain_seconds, grace=5.0))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
            live = Live(server, serving, httpx.AsyncClient(base_url=origin, timeout=DEADLINE_SECONDS, trust_env=False))
            stack.push_async_callback(live.stop)
            stack.push_async_callback(live.http.aclose)
            return live

        yield serve
