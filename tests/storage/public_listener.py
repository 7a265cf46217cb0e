"""The public side of a storage service, open on a free port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from services.chassis.addresses import Address
from services.chassis.health import Readiness
from services.storage.core import Uploads
from services.storage.listener import Listener
from services.storage.ports import Backend


@asynccontextmanager
async def browsing(
    backend: Backend, uploads: Uploads, connections: int = 100, readiness: Readiness | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the public listener."""
    runner = await Listener(Address("127.0.0.1", 0), backend, uploads, readiness=readiness or Readiness()).started()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(base_url=base, trust_env=False, limits=limits) as client:
        yield client
    await runner.cleanup()
