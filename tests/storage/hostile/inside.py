"""Runs in a network and mount namespace of its own: a whole stack, every URL at every entry, and a report in JSON.

Every address is routed to this machine, the name server answers by script, and its word is the only one.
"""

import asyncio
import io
import json
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import certifi
import httpx
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc
from PIL import Image

from tests.e2e.stack import Stack, running
from tests.storage.hostile import table
from tests.storage.hostile.canary import Canary
from tests.storage.hostile.names import NameServer

RESOLVER = ("127.0.0.53", 53)
AT_ONCE = 12
REFUSALS = ("URL_NOT_ALLOWED", "INVALID_INPUT", "INVALID_ARGUMENT")
SETTINGS = {
    "APP_URL": f"http://{table.OWN_HOST}",
    "GENERATION_CREATE_WAIT_SECONDS": "0",  # orders are not what is tried here
    "GENERATION_DRY_AFTER_SECONDS": "100000",
    "FETCH_READ_SECONDS": "3",
}
Entry = Callable[[str], Awaitable[str]]
"""Gives a URL to an entry; returns `ok`, or the code of the refusal."""


@dataclass
class Report:
    """What came of it."""

    rows: int = 0
    requests: int = 0
    honest: int = 0
    entries: list[str] = field(default_factory=list)
    let_in: list[str] = field(default_factory=list)
    turned_away: list[str] = field(default_factory=list)
    visits: list[str] = field(default_factory=list)
    served: int = 0


class Entries:
    """Every way in for a URL.

    `fetching` open it, `forwarding` hand it on, `plain` only keep or return it, `closed` take our own alone.
    """

    def __init__(self, http: httpx.AsyncClient, storage: "storagerpc.StorageServiceAsyncStub") -> None:
        self._http = http
        self._storage = storage
        self.fetching: dict[str, Entry] = {
            "download-and-upload url": lambda uri: self._post("download-and-upload", {"url": uri}),
            "download-and-upload kieImageUrl": self._kept,
            "gRPC ImportObject": lambda uri: self._imported(source_uri=uri),
            "gRPC ImportObject of a task": lambda uri: self._imported(source_uri=uri, task_id="task-1"),
        }
        self.forwarding: dict[str, Entry] = {
            "generate-image fileUrl": lambda uri: self._post("generate-image", {"prompt": "x", "fileUrl": uri}),
            "flux inputImage": lambda uri: self._post("flux-kontext/generate", {"prompt": "x", "inputImage": uri}),
            "nano-banana imageUrls": self._nano,
            "gRPC CheckSource": self._checked,
        }
        self.plain: dict[str, Entry] = {
            "download-url": lambda uri: self._post("download-url", {"url": uri}),
            "share generatedUrl": lambda uri: self._post("share", {"generatedUrl": uri}),
            "share originalUrl": self._shared,
        }

        self.closed: dict[str, Entry] = {"img u": self._shown}

    async def _shown(self, uri: str) -> str:
        answer = await self._http.get("/api/img", params={"u": uri})
        return "ok" if answer.is_success else str(answer.json()["code"])

    async def _kept(self, uri: str) -> str:
        return await self._post("download-and-upload", {"kieImageUrl": uri, "url": "http://public.example/a.png"})

    async def _shared(self, uri: str) -> str:
        return await self._post("share", {"generatedUrl": "https://public.example/s.png", "originalUrl": uri})

    async def _nano(self, uri: str) -> str:
        order = {"prompt": "x", "image_urls": ["https://public.example/a.png", uri]}
        return await self._post("nano-banana/generate", {"model": "nano-banana-edit", "input": order})

    async def _post(self, path: str, body: dict[str, Any]) -> str:
        answer = await self._http.post(f"/api/{path}", json=body)
        return "ok" if answer.is_success else str(answer.json()["code"])

    async def _imported(self, **fields: Any) -> str:
        return await _told(self._storage.ImportObject(storagepb.ImportObjectRequest(**fields)))

    async def _checked(self, uri: str) -> str:
        return await _told(self._storage.CheckSource(storagepb.CheckSourceRequest(uri=uri)))


async def _told(call: Awaitable[object]) -> str:
    try:
        await call
    except aio.AioRpcError as failure:
        return str(failure.code().name)
    return "ok"


async def attack(stack: Stack, report: Report) -> None:
    """Try everything."""
    async with (
        httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as http,
        aio.insecure_channel(f"127.0.0.1:{stack.base + 2}") as channel,
    ):
        entries = Entries(http, storagerpc.StorageServiceStub(channel))
        everywhere = entries.fetching | entries.forwarding | entries.plain
        report.entries = [*everywhere, *entries.closed]
        refusing = {
            "form": everywhere | entries.closed,
            "name": entries.fetching | entries.forwarding | entries.closed,
            "trip": entries.fetching | entries.closed,
            "own": entries.fetching | entries.closed,
        }
        rows = table.hostile()
        report.rows = len(rows)
        await _all([_refused(name, entry, row, report) for row in rows for name, entry in refusing[row.seen].items()])
        opening = [*entries.fetching.values(), *entries.closed.values()]
        await _all([_tried(host, entry, report) for host in table.rebinding() for entry in opening])
        honest = table.honest()
        report.honest = len(honest)
        await _all([_taken(name, entry, uri, report) for uri in honest for name, entry in everywhere.items()])


async def _all(tries: list[Awaitable[None]]) -> None:
    """A few at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(attempt: Awaitable[None]) -> None:
        async with gate:
            await attempt

    await asyncio.gather(*map(one, tries))


async def _refused(name: str, entry: Entry, row: table.Row, report: Report) -> None:
    report.requests += 1
    code = await entry(row.uri)
    fine = REFUSALS if row.seen == "form" else (*REFUSALS, "NOT_FOUND", "SOURCE_UNAVAILABLE", "UNAVAILABLE")
    if code not in fine:
        report.let_in.append(f"{row.kind} {name}: {row.uri!r} -> {code}")


async def _tried(host: str, entry: Entry, report: Report) -> None:
    """Whatever the answer is, nobody inside may be reached."""
    for path in ("/a.png", "/b.png", f"/bounce?to=http%3A%2F%2F{host}%2Fc.png"):
        report.requests += 1
        await entry(f"http://{host}{path}")


async def _taken(name: str, entry: Entry, uri: str, report: Report) -> None:
    report.requests += 1
    code = await entry(uri)
    if code != "ok":
        report.turned_away.append(f"{name}: {uri!r} -> {code}")


def prepare(folder: Path) -> Canary:
    """Route every address here, put our name server and our certificate in the place of the system's."""
    for command in (
        "ip link set lo up",
        "ip route add local 0.0.0.0/0 dev lo",
        "ip -6 route add local ::/0 dev lo",
    ):
        subprocess.run(command.split(), check=True)
    (folder / "resolv.conf").write_text(f"nameserver {RESOLVER[0]}\noptions timeout:2 attempts:2\n", encoding="ascii")
    subprocess.run(["mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf"], check=True)
    certificate = make_certificate(folder)
    subprocess.run(["mount", "--bind", folder / "cert.pem", certifi.where()], check=True)
    NameServer(RESOLVER).start()
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), "pink").save(picture, "PNG")
    canary = Canary(picture.getvalue(), certificate)
    canary.start()
    return canary


def make_certificate(folder: Path) -> Path:
    """A certificate for the honest names, trusted in this namespace only; its key stands in the same file."""
    names = "DNS:public.example,DNS:both.example,DNS:xn--bcher-kva.example"
    shape = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=public.example"]
    made: list[str | Path] = ["openssl", "req", *shape, "-addext", f"subjectAltName={names}"]
    subprocess.run([*made, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    ssl.create_default_context().load_verify_locations(folder / "cert.pem")
    return both


def main(folder: Path) -> None:
    """Attack, and write the report."""
    canary, report = prepare(folder), Report()
    with running(folder / "data", **SETTINGS) as stack:
        asyncio.run(attack(stack, report))
    report.visits, report.served = canary.visits, canary.served
    (folder / "report.json").write_text(json.dumps(asdict(report)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
