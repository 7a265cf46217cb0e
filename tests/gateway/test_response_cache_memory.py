"""What a real gateway process keeps of a flood of reads that anybody may invent stays within a bound."""

import asyncio
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import Counter

from gateway.response_cache import Answer, ByteCache
from services.chassis.addresses import LOOPBACK, ListenPort, address_of
from tests.deploy.conftest import base
from tests.gateway.conftest import mounts
from tests.gateway.doubles.share.servicer import ShareService
from tests.gateway.test_main import answers
from tests.support.servers import serving

__all__ = ["base"]

KINDS = ("unknown parameter", "origin", "short parameter")
READS = 1100  # of each kind: those of LENGTH would take 130 MB, were they kept
LENGTH = 60_000  # Uvicorn takes 64 KB of headers
AT_ONCE = 16
MOST_GROWTH_KB = 96 * 1024  # READ_CACHE_BYTES (32 MiB), and as much again for what allocators do not give back

KEPT_BYTES = 8 * 1024 * 1024
LONG_KEYS = 2000  # of 55 KB for a query and as much for an origin: 220 MB

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's memory")


def read_of(kind: str, number: int, length: int) -> str:
    """A read of the newest shares that is like no other."""
    own = f"{number:0{length}}"
    match kind:
        case "unknown parameter":
            return f"GET /api/share/latest?{own}=1 HTTP/1.1\r\nHost: h\r\n\r\n"
        case "origin":
            return f"GET /api/share/latest HTTP/1.1\r\nHost: h\r\nOrigin: https://{own}.example\r\n\r\n"
        case _:  # nearly as long as is still kept
            return f"GET /api/share/latest?tag={number:0400} HTTP/1.1\r\nHost: h\r\n\r\n"


def memory_kb(pid: int) -> int:
    """The most of a process that ever lay in memory: what was kept for a second is gone at the end."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@asynccontextmanager
async def gateway(folder: Path, first_port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway process before a share service in this one."""
    environment = os.environ | {"INTERNAL_PORT_BASE": str(first_port), "REDIS_URL": "", "PYTHONPATH": str(Path.cwd())}
    shares = mounts("share", {"share": ShareService()})
    async with serving(*shares, address=address_of(ListenPort.SHARE, first_port)):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", cwd=folder, env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await answers(f"http://{LOOPBACK}:{first_port}/healthz")
            yield process
        finally:
            process.kill()
            await process.wait()


def test_answers_with_long_keys_take_no_more_memory_than_the_bound() -> None:
    """The cache alone: the gateway does not even try to keep such answers, see below."""
    kept, served = ByteCache(3600, KEPT_BYTES), Counter("test_memory", "Answers of this test.", registry=None)
    tracemalloc.start()
    try:
        for number in range(LONG_KEYS):
            long = f"{number:055000}"
            kept.put((f"/{number}", long.encode(), long.encode()), Answer([], b"{}", b'"e"', served), kept.epoch)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 0 < len(kept) < LONG_KEYS
    assert most < 2 * KEPT_BYTES


@linux
async def test_a_flood_of_long_queries_and_origins_takes_no_more_memory_than_the_response_cache_may(
    tmp_path: Path, base: int
) -> None:
    async with gateway(tmp_path, base) as process:

        async def flood(kind: str, numbers: Iterator[int], length: int) -> None:
            """Read with each number; who sends so much cannot be slowed down by a client that understands answers."""
            reader, writer = await asyncio.open_connection(LOOPBACK, base + ListenPort.GATEWAY)
            for number in numbers:
                writer.write(read_of(kind, number, length).encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                statuses.add(head.split()[1])
                await reader.readexactly(int(head.split("content-length: ")[1].split()[0]))
            writer.close()

        async def all_of(reads: int, length: int) -> None:
            for kind in KINDS:
                numbers = iter(range(reads))
                await asyncio.gather(*(flood(kind, numbers, length) for _ in range(AT_ONCE)))

        statuses = set[str]()
        await all_of(AT_ONCE, 100)  # so that what a process needs once is there
        before = memory_kb(process.pid)
        await all_of(READS, LENGTH)
        growth = memory_kb(process.pid) - before

    assert statuses == {"200"}
    assert growth < MOST_GROWTH_KB
