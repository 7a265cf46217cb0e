"""How fast a share is read through Envoy, against the same bytes from a bare Starlette app, interleaved in one run."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench._load import Result, load
from tests.e2e.town import Town, free_base, running, until

ROUNDS = 5
BARE = """
import os, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = os.environb[b"BODY"]
async def share(request): return Response(body, media_type="application/json")
app = Starlette(routes=[Route("/api/share/{id}", share)])
uvicorn.run(app, port=int(os.environ["BARE_PORT"]), log_level="error", access_log=False)
"""


def main() -> None:
    """Measure A B A B … and print medians and the ratio."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "data") as town:
        path, body = share(town)
        with bare(body) as base:
            rows = [measure(f"{town.url}{path}", f"{base}{path}", path) for _ in range(ROUNDS)]
    print(f"{'GET /api/share/{id}':34}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'bad':>6}")
    for name, results in zip(
        ("kawaii, through Envoy", "bare Starlette, no proxy"), zip(*rows, strict=True), strict=True
    ):
        print_row(name, results)
    print(f"{'ratio of rates, pair by pair':34}{statistics.median(a.rate / b.rate for a, b in rows):12.3f}")


def measure(ours: str, theirs: str, path: str) -> tuple[Result, Result]:
    """One round of each."""
    expected = path.rpartition("/")[2].encode()
    return asyncio.run(load(ours, expected)), asyncio.run(load(theirs, expected))


def print_row(name: str, results: tuple[Result, ...]) -> None:
    """Medians over the rounds."""
    rate, p50, p99 = (
        statistics.median(getattr(result, field) for result in results) for field in ("rate", "p50", "p99")
    )
    print(f"{name:34}{rate:12.0f}{p50:9.2f}{p99:9.2f}{sum(result.bad for result in results):6}")


def share(town: Town) -> tuple[str, bytes]:
    """Make a share; its path and the answer's bytes."""
    body = {"generatedUrl": "https://example.com/a.png", "prompt": "a cat " * 20, "style": "watercolor"}
    path = f"/api/share/{town.post('/api/share', body).json()['shareId']}"
    return path, town.http.get(path).content


@contextmanager
def bare(body: bytes) -> Iterator[str]:
    """A bare Starlette app that answers the same bytes."""
    port = free_base()
    environment = os.environ | {"BODY": body.decode(), "BARE_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-c", BARE], env=environment) as process:
        base = f"http://127.0.0.1:{port}"
        until(lambda: answers(base))
        yield base
        process.terminate()


def answers(base: str) -> bool | None:
    """True once something listens."""
    with suppress(httpx.HTTPError):
        return httpx.get(base) is not None
    return None


if __name__ == "__main__":
    main()
