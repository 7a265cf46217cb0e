"""Speaks HTTP to KIE: one submit that is never repeated, reads that may be, and not a retrying layer beneath either."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from services.generation.answers import Ambiguous, Gone, Later, NotSent, Outcome
from services.generation.ports import Key
from services.generation.providers.replies import INVALID, MAX_REPLY_BYTES, OK, NonJson, Reply, classify, decode

SUBMIT_TIMEOUT = httpx.Timeout(connect=10, read=120, write=30, pool=5)  # above the edge's 100 s: we learn more answers
READ_TIMEOUT = httpx.Timeout(connect=5, read=20, write=10, pool=5)
RESULT_SUFFIXES = (".aiquickdraw.com", ".redpandaai.co")  # kie.md 5.6; R2 links are trusted by provenance only
COMMON_LINK = "/api/v1/common/download-url"  # for files of every family (kie.md 5.2)
FIRST_BYTE = "http11.send_request_headers.started"
USER_AGENT = "kawaii/0.1 (+self-hosted image site)"  # the edge refuses default agents (kie.md 0.9)

Connected = Callable[[], Awaitable[None]]


class Kie:
    """KIE's API under one base URL."""

    def __init__(self, base_url: str, submits: httpx.AsyncClient, reads: httpx.AsyncClient) -> None:
        self._base = base_url.rstrip("/")
        self._submits = submits
        self._reads = reads

    async def submit(self, path: str, order: Mapping[str, Any], key: Key, connected: Connected) -> Outcome:
        """POST an order once. `connected` runs before the first byte, and what it raises passes through."""
        line = Line(connected)
        try:
            request = self._request("POST", path, key, order)
            request.extensions.update(trace=line.trace, timeout=SUBMIT_TIMEOUT.as_dict())
            reply = await exchange(self._submits, request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = type(error).__name__
            return Ambiguous(detail) if line.open else NotSent(detail)
        return classify(reply)

    async def read(self, path: str, query: Mapping[str, str], key: Key) -> Reply | NonJson | Later:
        """GET a record; Later when the network failed."""
        try:
            return await exchange(self._reads, self._request("GET", f"{path}?{httpx.QueryParams(query)}", key))
        except httpx.HTTPError as error:
            return Later(type(error).__name__)

    async def link(self, path: str, body: Mapping[str, Any], key: Key) -> str | Gone | Later:
        """POST for a direct link, whose `data` is a string (kie.md 2.3, 5.2)."""
        try:
            reply = await exchange(self._reads, self._request("POST", path, key, body))
        except httpx.HTTPError as error:
            return Later(type(error).__name__)
        if isinstance(reply, Reply) and reply.code == OK and isinstance(reply.data, str) and reply.data:
            return reply.data
        if isinstance(reply, Reply) and reply.code == INVALID:
            return Gone(reply.message)
        return Later("no link")

    def owns(self, uri: str) -> bool:
        """True for a result URL of KIE's, or of the base URL's own host as the sandbox serves them."""
        host = urlsplit(uri).hostname or ""
        own = urlsplit(uri).netloc == urlsplit(self._base).netloc
        return own or f".{host}".endswith(RESULT_SUFFIXES)

    def _request(self, method: str, path: str, key: Key, body: Mapping[str, Any] | None = None) -> httpx.Request:
        headers = {"Authorization": f"Bearer {key.value}", "Content-Type": "application/json"}
        content = orjson.dumps(body) if body is not None else None
        return self._reads.build_request(method, f"{self._base}{path}", headers=headers, content=content)


async def exchange(client: httpx.AsyncClient, request: httpx.Request) -> Reply | NonJson:
    """Send a request and decode its bounded reply."""
    response = await client.send(request, stream=True)
    try:
        return decode(response.status_code, await bounded(response), response.headers.get("retry-after", ""))
    finally:
        await response.aclose()


class Line:
    """Watches a request through httpcore's trace, and knows whether a byte may have left."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self.open = False

    async def trace(self, event: str, _info: Any) -> None:
        """Called at each step; the connection is up, TLS included, when the headers are about to be sent."""
        if event == FIRST_BYTE:
            await self._connected()
            self.open = True


async def bounded(response: httpx.Response) -> bytes:
    """The body, cut at the bound; a cut body is no JSON and so proves nothing."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            break
    return bytes(body[: MAX_REPLY_BYTES + 1])


@asynccontextmanager
async def open_kie(base_url: str) -> AsyncIterator[Kie]:
    """Open the clients. A submit never reuses a connection: a stale one would make its failure ambiguous."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    fresh = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(headers=headers, limits=fresh, trust_env=False) as submits,
        httpx.AsyncClient(headers=headers, timeout=READ_TIMEOUT, trust_env=False) as reads,
    ):
        yield Kie(base_url, submits, reads)
