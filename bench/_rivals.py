"""The servers that reads are measured against, each behind an Envoy with the configuration of ours."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import psutil
import yaml

from deploy.envoy import render
from deploy.launcher import processes
from deploy.launcher.settings import LauncherSettings
from tests.e2e.stack import ROOT
from tests.support.polling import until
from tests.support.ports import BLOCK, free_base

DESCRIPTORS = ROOT / "protos" / "released.binpb"  # committed: a fresh clone has built none
FASTIFY = ROOT / "bench" / "fastify"
MODULES = ROOT / ".build" / "fastify"
BARE = """
import json, os, uvicorn
answers = json.load(open(os.environ["ANSWERS"]))
headers = [(name.encode(), value.encode()) for name, value in json.loads(os.environ["HEADERS"]).items()]
answers = {path: body.encode() for path, body in answers.items()}
async def app(scope, receive, send):
    body = answers[scope["path"]]
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
uvicorn.run(app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", ws="none", lifespan="off",
            log_config=None, access_log=False, server_header=False, proxy_headers=False)
"""
Change = Callable[[dict[str, Any]], None]


class Rival:
    """A server behind Envoy: its address and the processes that work for it."""

    def __init__(self, base: str, processes: list[psutil.Process]) -> None:
        self.base, self.processes = base, processes


@contextmanager
def started(command: list[str], **environment: str) -> Iterator[psutil.Process]:
    """A process that ends with this context."""
    with subprocess.Popen(command, env=os.environ | environment) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


@contextmanager
def edge(base: int, change: Change = lambda _configuration: None) -> Iterator[tuple[str, psutil.Process]]:
    """Our Envoy before whatever listens on the base's port; its address and process."""
    settings = LauncherSettings(port=base + BLOCK - 1, internal_port_base=base, log_format="json")
    configuration = yaml.safe_load(render.render(settings))
    del configuration["admin"]  # a socket beside the file, of which each Envoy here would have the same
    change(configuration)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(configuration, file)
        file.flush()
        options = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        with started([processes.envoy_binary(), "-c", file.name, *options]) as process:
            yield f"http://127.0.0.1:{settings.port}", process


@contextmanager
def bare(answers: dict[str, bytes], headers: dict[str, str]) -> Iterator[Rival]:
    """(a) The leanest Python there is: a bare ASGI app that sends constants, with our bytes and headers."""
    base = free_base()
    with tempfile.NamedTemporaryFile("w") as file, ExitStack() as exits:
        json.dump({path.partition("?")[0]: body.decode() for path, body in answers.items()}, file)
        file.flush()
        variables = {"ANSWERS": file.name, "HEADERS": json.dumps(headers), "PORT": str(base)}
        app = exits.enter_context(started([sys.executable, "-c", BARE], **variables))
        address, proxy = exits.enter_context(edge(base))
        answering(address, next(iter(answers)))
        yield Rival(address, [proxy, app])


@contextmanager
def transcoder(share_port: int, path: str, beside: list[psutil.Process]) -> Iterator[Rival]:
    """(b) Envoy's own gRPC-JSON transcoder before the share service; `beside` are the processes it makes work."""
    with edge(free_base(), lambda configuration: transcode(configuration, share_port)) as (address, proxy):
        answering(address, path)
        yield Rival(address, [proxy, *beside])


def transcode(configuration: dict[str, Any], share_port: int) -> None:
    """Put the transcoder before the router, and the share service in the gateway's place."""
    resources = configuration["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    prefix = "type.googleapis.com/envoy.extensions"
    transcoding = {
        "@type": f"{prefix}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(DESCRIPTORS),
        "services": ["kawaii.share.v1.ShareService"],
    }
    manager["http_filters"].insert(-1, {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoding})
    options = {"@type": f"{prefix}.upstreams.http.v3.HttpProtocolOptions"}
    options["explicit_http_config"] = {"http2_protocol_options": {}}  # type: ignore[assignment] # a message of its own
    for cluster in resources["clusters"]:  # reads have one of their own
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = share_port
        cluster["typed_extension_protocol_options"] = {f"{prefix[20:]}.upstreams.http.v3.HttpProtocolOptions": options}


@contextmanager
def fastify(redis_url: str, path: str, headers: dict[str, str], beside: list[psutil.Process]) -> Iterator[Rival | None]:
    """(c) Fastify that reads the same answers from Redis; None, said aloud, where there is no Node."""
    if not shutil.which("npm"):
        print("(c) is left out: there is no npm on this machine")
        yield None
        return
    install()
    base = free_base()
    variables = {"REDIS_URL": redis_url, "HEADERS": json.dumps(headers), "PORT": str(base), "NODE_ENV": "production"}
    with ExitStack() as exits:
        app = exits.enter_context(started(["node", str(MODULES / "server.js")], **variables))
        address, proxy = exits.enter_context(edge(base))
        answering(address, path)
        yield Rival(address, [proxy, app, *beside])


def install() -> None:
    """Fastify beside a copy of our server, outside of the sources."""
    MODULES.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "server.js"):
        shutil.copy(FASTIFY / name, MODULES)
    if not (MODULES / "node_modules" / "fastify").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=MODULES, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def answering(base: str, path: str) -> None:
    """Wait until a path is answered with 200."""

    def look() -> bool | None:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{base}{path}").status_code == httpx.codes.OK or None
        return None

    until(look)
