"""What kawaii adds to a generation, beyond the upstream's own time, against a bare script on the same sandbox.

The bare script does what anybody would: POST generate, wait for the callback, download, write the file. It keeps no
row, survives no crash and would lose the picture of a lost answer; the difference is what those promises cost.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import grpc
import httpx
from aiohttp import web
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from tests.support.ports import free_base

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.stack import Stack, running

ROUNDS = 8  # within the eighteen orders per ten seconds of one account, for both sides
DRAW_SECONDS = "0.2"


async def ours(stub: "generationrpc.GenerationServiceAsyncStub", prompt: str) -> float:
    """Seconds from the order to SUCCEEDED, as a watcher sees it."""
    order = generationpb.Generation(model="gpt4o-image", prompt=prompt)
    start = time.perf_counter()
    made = await stub.CreateGeneration(generationpb.CreateGenerationRequest(generation=order))
    watched = stub.WatchGeneration(generationpb.WatchGenerationRequest(name=made.generation.name))
    made = [seen async for seen in watched][-1]
    if made.state != generationpb.Generation.STATE_SUCCEEDED:
        raise SystemExit(f"the picture was not made: {made}")
    return time.perf_counter() - start


class Bare:
    """The script without promises."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._called: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._port = free_base()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/done", self._receive)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._client = httpx.AsyncClient(headers={"Authorization": "Bearer sandbox-bare"}, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        await self._runner.cleanup()

    async def make(self, prompt: str) -> float:
        """Seconds from the order to the written file."""
        start = time.perf_counter()
        order = {"prompt": prompt, "size": "1:1", "callBackUrl": f"http://127.0.0.1:{self._port}/done"}
        await self._client.post(f"{self._stack.sandbox}/api/v1/gpt4o-image/generate", json=order)
        callback = await self._called.get()
        picture = await self._client.get(callback["data"]["info"]["result_urls"][0])
        await asyncio.to_thread((self._folder / f"{time.monotonic_ns()}.png").write_bytes, picture.content)
        return time.perf_counter() - start

    async def _receive(self, request: web.Request) -> web.Response:
        self._called.put_nowait(await request.json())
        return web.json_response({"code": 200})


async def measure(stack: Stack, folder: Path) -> list[tuple[float, float]]:
    """A B A B …, each with a prompt of its own: the sandbox draws a picture when it is asked for the first time."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.base + 1}") as channel, Bare(stack, folder) as bare:
        stub = generationrpc.GenerationServiceStub(channel)
        await ours(stub, "warm up")
        await bare.make("warm up")
        return [(await ours(stub, f"picture {i}"), await bare.make(f"sketch {i}")) for i in range(ROUNDS)]


def main() -> None:
    """Print medians and the difference."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder / "data", SANDBOX_GENERATION_SECONDS=DRAW_SECONDS, SANDBOX_IMAGE_SIDE="512") as stack:
            pairs = asyncio.run(measure(stack, folder))
    print(f"{'order to stored picture':34}{'median ms':>10}{'worst ms':>10}")
    print_row("kawaii", [pair[0] for pair in pairs])
    print_row("bare script", [pair[1] for pair in pairs])
    added = [(a - b) * 1000 for a, b in pairs]
    print(f"{'added, pair by pair':34}{statistics.median(added):10.0f}{max(added):10.0f}")
    print(f"{'ratio, pair by pair':34}{statistics.median(a / b for a, b in pairs):10.2f}")


def print_row(name: str, seconds: list[float]) -> None:
    """One side."""
    print(f"{name:34}{statistics.median(seconds) * 1000:10.0f}{max(seconds) * 1000:10.0f}")


if __name__ == "__main__":
    main()
