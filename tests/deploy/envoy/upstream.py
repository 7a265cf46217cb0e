"""A stand-in for a gateway or for storage's file listener, as a process: says who it is, and drains on SIGUSR1.

python -m tests.deploy.envoy.upstream NAME HOST PORT [CERTIFICATE KEY AUTHORITY]
"""

import asyncio
import signal
import sys
from pathlib import Path

from aiohttp import web

from services.chassis.health import READY_PATH
from services.chassis.tls import InternalTls

READ_SECONDS, WRITE_SECONDS = 0.01, 1.0


class Upstream:
    """What one process answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.draining = False
        self.requests = self.writes = 0

    def toggle(self) -> None:
        """Begin to drain, or serve again."""
        self.draining = not self.draining

    async def ready(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.draining else 200)

    async def answer(self, request: web.Request) -> web.Response:
        """Say who answers, and which certificate the client showed; a write takes its time."""
        self.requests += 1
        self.writes += request.method == "POST"
        await asyncio.sleep(WRITE_SECONDS if request.method == "POST" else READ_SECONDS)
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        seen = {"requests": self.requests, "writes": self.writes, "serial": (peer or {}).get("serialNumber", "")}
        headers = {"connection": "close"} if request.path == "/close" else {}
        return web.json_response({"name": self.name, **seen}, headers=headers)


async def main(name: str, host: str, port: str, *files: str) -> None:
    """Serve until killed."""
    upstream = Upstream(name)
    app = web.Application()
    app.router.add_get(READY_PATH, upstream.ready)
    app.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    tls = InternalTls(*map(Path, files)).server_context("edge", "envoy") if files else None
    await web.TCPSite(runner, host, int(port), ssl_context=tls).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, upstream.toggle)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
