"""How fast 5 MB go up and down through the stack, against nginx and a bare ASGI handler, interleaved in one run.

Memory is each process's peak while the bytes moved, above what it held before: a file held whole would show.
"""

import http.client
import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from PIL import Image

from tests.support.polling import until
from tests.support.ports import free_base

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.stack import label
from tests.e2e.stack import Stack, running

SIDE = 1300  # of noise, which no compression makes smaller: 5.07 MB
ROUNDS, TRANSFERS = 7, 6
PIECE = 256 * 1024
MEGABYTE, MEBIBYTE = 1_000_000, 1024 * 1024
BOUNDARY = "bench"
BARE = """
import os, uuid, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route
folder = os.environ["FOLDER"]
async def download(request): return FileResponse(f"{folder}/picture.png")
async def upload(request):
    with open(f"{folder}/{uuid.uuid4()}", "wb") as file:
        async for piece in request.stream(): file.write(piece)
        os.fsync(file.fileno())
    return JSONResponse({"success": True})
app = Starlette(routes=[Route("/picture.png", download), Route("/upload", upload, methods=["POST"])])
uvicorn.run(app, port=int(os.environ["BARE_PORT"]), log_level="error", access_log=False)
"""
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}
http {{ access_log off; sendfile on; types {{ image/png png; }}
  server {{ listen 127.0.0.1:{port}; root {folder}; }} }}
"""


@dataclass(frozen=True)
class Side:
    """Something to measure: what it is called, one transfer of the picture, and the processes that carry it."""

    name: str
    transfer: Callable[[], None]
    processes: list[psutil.Process]


def picture() -> bytes:
    """A picture of five megabytes."""
    file = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), random.Random(1).randbytes(SIDE * SIDE * 3)).save(file, "PNG")
    return file.getvalue()


def get(url: str, size: int) -> None:
    """Read a file and throw it away."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    buffer, taken = bytearray(PIECE), 0
    while read := answer.readinto(buffer):
        taken += read
    connection.close()
    check(answer.status, whole=taken == size)


def check(status: int, *, whole: bool) -> None:
    """End the measurement when a transfer is not what it should be."""
    if status != http.client.OK or not whole:
        raise SystemExit(f"A transfer failed with {status}.")


def post(url: str, body: bytes) -> None:
    """Upload a form that holds the picture."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    form = head + body + f"\r\n--{BOUNDARY}--\r\n".encode()
    connection.request("POST", parts.path, form, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    check(answer.status, whole=True)


@contextmanager
def serving(command: list[str], port: int, **environment: str) -> Iterator[psutil.Process]:
    """A program that listens on a port."""
    with subprocess.Popen(command, env=os.environ | environment) as process:
        until(lambda: answers(port))
        yield psutil.Process(process.pid)
        process.terminate()


def answers(port: int) -> bool | None:
    """True once something listens."""
    try:
        http.client.HTTPConnection("127.0.0.1", port).connect()
    except OSError:
        return None
    return True


def sides(exits: ExitStack, folder: Path, stack: Stack, body: bytes) -> dict[str, list[Side]]:
    """What is measured in each direction, ours first."""
    (folder / "picture.png").write_bytes(body)
    uploaded = stack.http.post("/api/upload-image", files={"file": ("a.png", body, "image/png")}).json()
    ours = [stack.process(name) for name in ("envoy", "gateway", "services.storage")]
    bare_port, nginx_port = free_base(), free_base() + 1
    bare = exits.enter_context(
        serving([sys.executable, "-c", BARE], bare_port, BARE_PORT=str(bare_port), FOLDER=str(folder))
    )
    file_url = f"{stack.url}{urlsplit(uploaded['fileUrl']).path}"
    size = len(body)
    down = [Side("kawaii, through Envoy", lambda: get(file_url, size), ours)]
    if shutil.which("nginx"):
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=nginx_port), encoding="utf-8")
        command = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "nginx.log")]
        nginx = exits.enter_context(serving(command, nginx_port))
        down.append(Side("nginx, no proxy", lambda: get(f"http://127.0.0.1:{nginx_port}/picture.png", size), [nginx]))
    down.append(Side("bare ASGI, no proxy", lambda: get(f"http://127.0.0.1:{bare_port}/picture.png", size), [bare]))
    up = [
        Side("kawaii, through Envoy", lambda: post(f"{stack.url}/api/upload-image", body), ours),
        Side("bare ASGI, no proxy", lambda: post(f"http://127.0.0.1:{bare_port}/upload", body), [bare]),
    ]
    return {"download": down, "upload": up}


def measure(side: Side, size: int) -> float:
    """Megabytes a second over a few transfers in a row."""
    begun = time.perf_counter()
    for _ in range(TRANSFERS):
        side.transfer()
    return TRANSFERS * size / MEGABYTE / (time.perf_counter() - begun)


def forget(process: psutil.Process) -> int:
    """Reset a process's peak; what it holds now, in bytes."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")
    return int(process.memory_info().rss)


def peak(process: psutil.Process) -> int:
    """The most it held since, in bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def report(direction: str, measured: list[Side], size: int) -> None:
    """Measure A B C A B C … and print rates, ratios and memory."""
    for side in measured:
        side.transfer()
    held = {process.pid: forget(process) for side in measured for process in side.processes}
    rounds = [[measure(side, size) for side in measured] for _ in range(ROUNDS)]
    print(f"\n{direction + ' of 5 MB':34}{'MB/s':>8}{'ours/it':>10}   peak memory MiB (above idle)")
    for column, side in enumerate(measured):
        rate = statistics.median(row[column] for row in rounds)
        ratio = statistics.median(row[0] / row[column] for row in rounds)
        memory = ", ".join(
            f"{label(process)} {peak(process) / MEBIBYTE:.0f} (+{(peak(process) - held[process.pid]) / MEBIBYTE:.1f})"
            for process in side.processes
        )
        print(f"{side.name:34}{rate:8.0f}{ratio:10.2f}   {memory}")


def main() -> None:
    """Print both tables."""
    body = picture()
    with tempfile.TemporaryDirectory() as name, ExitStack() as exits:
        folder = Path(name)
        stack = exits.enter_context(running(folder / "data"))
        for direction, measured in sides(exits, folder, stack, body).items():
            report(direction, measured, len(body))


if __name__ == "__main__":
    main()
