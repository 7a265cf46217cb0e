"""How soon a client of /api/poll-task sees a change, from the clock of the row to the bytes, against bare asyncio.

The bare server holds its watchers in a list and writes to each of them at a POST: no row, no commit, no
second process, no proxy. Both stamp the change with the time, both are read by the same client, turn by turn.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from tests.support.polling import until
from tests.support.ports import free_base

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.stack import Stack, running

ROUNDS = 20
CROWDS = (1, 50)  # watchers of one task; of many the last one counts
LAST = "generation.canceled"
BARE = """
import asyncio, json, sys, time
watchers = []
HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\n\\r\\n"
def event(kind):
    return b"data: %s\\n\\n" % json.dumps({"type": kind, "completeTime": time.time() * 1000}).encode()
async def serve(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    if head.startswith(b"POST"):
        canceled = event("generation.canceled")
        for watcher in watchers:
            watcher.write(canceled)
        watchers.clear()
        writer.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
        await writer.drain()
        writer.close()
    else:
        watchers.append(writer)
        writer.write(HEAD + event("generation.progress"))
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""

Change = Callable[[], Awaitable[object]]


async def latency(client: httpx.AsyncClient, path: str, watchers: int, change: Change) -> float:
    """Milliseconds from the change to the moment at which the last watcher has it."""
    async with AsyncExitStack() as held:
        streams = [await held.enter_async_context(watching(client, path)) for _ in range(watchers)]
        for stream in streams:
            await anext(stream)
        lasts = [asyncio.ensure_future(last_of(stream)) for stream in streams]
        await change()
        return max(await asyncio.gather(*lasts))


@asynccontextmanager
async def watching(client: httpx.AsyncClient, path: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """A stream of events."""
    async with client.stream("GET", path) as response:
        yield (json.loads(line[5:]) async for line in response.aiter_lines() if line.startswith("data:"))


async def last_of(stream: AsyncIterator[dict[str, Any]]) -> float:
    """How old the last event is when it arrives, in milliseconds."""
    async for event in stream:
        if event["type"] == LAST:
            return time.time() * 1000 - event["completeTime"]
    raise SystemExit("the stream ended before the event")


async def ours(client: httpx.AsyncClient, stub: Any, watchers: int) -> float:
    """Cancel a task that is being drawn."""
    answer = await client.post("/api/generate-image", json={"prompt": "a slow picture sim:slow:60"})
    task = answer.raise_for_status().json()["taskId"]
    cancel = generationpb.CancelGenerationRequest(name=f"generations/{task}")
    return await latency(client, f"/api/poll-task?taskId={task}", watchers, lambda: stub.CancelGeneration(cancel))


async def measure(stack: Stack, bare: str) -> dict[int, list[tuple[float, float]]]:
    """Pairs for each crowd, turn by turn."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{stack.base + 1}") as channel,
        httpx.AsyncClient(base_url=stack.url, limits=limits, trust_env=False, timeout=30) as client,
        httpx.AsyncClient(base_url=bare, limits=limits, trust_env=False, timeout=30) as plain,
    ):
        stub = generationrpc.GenerationServiceStub(channel)

        async def pair(watchers: int) -> tuple[float, float]:
            notified = await ours(client, stub, watchers)
            return notified, await latency(plain, "/", watchers, lambda: plain.post("/"))

        await pair(1)  # warm up
        return {crowd: [await pair(crowd) for _ in range(ROUNDS)] for crowd in CROWDS}


@contextmanager
def bare_server() -> Iterator[str]:
    """The bare server, in a process of its own."""
    port = free_base()
    with subprocess.Popen([sys.executable, "-c", BARE, str(port)]) as process:
        until(lambda: listens(port))
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def listens(port: int) -> bool | None:
    """True once something listens."""
    try:
        httpx.post(f"http://127.0.0.1:{port}/", trust_env=False)
    except httpx.HTTPError:
        return None
    return True


def main() -> None:
    """Print medians and their ratio."""
    free = {"GENERATION_CREATES_PER_WINDOW": "1000", "SANDBOX_CREATE_LIMIT": "1000"}
    with tempfile.TemporaryDirectory() as name, running(Path(name) / "data", **free) as stack, bare_server() as bare:
        measured = asyncio.run(measure(stack, bare))
    print(f"{'change of a row to event at the client':40}{'median ms':>10}{'worst ms':>10}{'ratio':>8}")
    for crowd, pairs in measured.items():
        ratio = statistics.median(ours for ours, _ in pairs) / statistics.median(bare for _, bare in pairs)
        print_row(f"kawaii, watchers: {crowd}", [pair[0] for pair in pairs], f"{ratio:8.1f}")
        print_row(f"bare asyncio, watchers: {crowd}", [pair[1] for pair in pairs], "")


def print_row(name: str, milliseconds: list[float], ratio: str) -> None:
    """One side."""
    print(f"{name:40}{statistics.median(milliseconds):10.1f}{max(milliseconds):10.1f}{ratio}")


if __name__ == "__main__":
    main()
