"""KIE over HTTP: a submit that is never repeated, reads that may be, and no retrying layer beneath either.

`Kie` is the client, and `Family` the provider that each module of a family describes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from catalogue import CALLBACK_KINDS
from services.chassis.names import host_of
from services.generation import metrics
from services.generation.key_pool.pool import Key
from services.generation.model import Draft
from services.generation.outcomes import Ambiguous, Gone, Later, NotSent, Outcome, PromptMismatch, Record, Refused
from services.generation.providers.replies import (
    INVALID,
    MAX_REPLY_BYTES,
    OK,
    NonJson,
    Reply,
    balance_in,
    classify,
    decode,
    is_foreign,
    record_in,
)

# R2 links are trusted by provenance only (docs/provider.md#hosts).
RESULT_SUFFIXES = (".aiquickdraw.com", ".redpandaai.co")
CREDITS = "/api/v1/chat/credit"  # docs/provider.md#credits
COMMON_LINK = "/api/v1/common/download-url"  # for files of every family (docs/provider.md#download-links)
FIRST_BYTE = "http11.send_request_headers.started"
# KIE's CDN refuses default agents (docs/provider.md#hosts).
HEADERS = {"User-Agent": "kawaii/0.1 (+self-hosted image site)", "Accept-Encoding": "identity", "Accept": "*/*"}
NOT_JSON = "not_json"  # counted instead of a code: a page of KIE's CDN
HTTP_FAILURES = (httpx.HTTPError, httpx.InvalidURL, TimeoutError)

Trace = Callable[[str, Any], Awaitable[None]]
Connected = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Timeouts:
    """How long a call may take, in seconds: in each phase, and in all, since a reply may drip for ever."""

    phases: httpx.Timeout
    total: float


SUBMIT = Timeouts(
    httpx.Timeout(connect=10, read=120, write=30, pool=5), 150.0
)  # above the 100 s of KIE's CDN: more answers
READ = Timeouts(httpx.Timeout(connect=5, read=20, write=10, pool=5), 25.0)  # below the lease of a poll


class Kie:
    """KIE's API under one base URL."""

    def __init__(self, base_url: str, submits: "HttpClient", reads: "HttpClient", name: str = "kie") -> None:
        self._base = base_url.rstrip("/")
        self._submits = submits
        self._reads = reads
        self._name = name

    def counted_as(self, name: str) -> "Kie":
        """This client with its calls counted under another name in the metrics."""
        return Kie(self._base, self._submits, self._reads, name)

    async def submit(self, path: str, order: Mapping[str, Any], key: Key, connected: Connected) -> Outcome:
        """POST an order once. `connected` runs before the first byte, and what it raises passes through."""
        sent = SendTrace(connected)
        try:
            reply = await self._exchange(self._submits, self._request("POST", path, key, order), sent.trace)
        except HTTP_FAILURES as error:
            detail = type(error).__name__
            return Ambiguous(detail) if sent.open else NotSent(detail)
        return classify(reply)

    async def read(self, path: str, query: Mapping[str, str], key: Key) -> Reply | NonJson | Later:
        """GET a record; Later when the network failed."""
        try:
            return await self._exchange(self._reads, self._request("GET", f"{path}?{httpx.QueryParams(query)}", key))
        except HTTP_FAILURES as error:
            return Later(type(error).__name__)

    async def credits(self, key: Key) -> float | Refused | Later:
        """GET the balance of the key's account, a number that need not be whole (docs/provider.md#credits)."""
        try:
            reply = await self._exchange(self._reads, self._request("GET", CREDITS, key))
        except HTTP_FAILURES as error:
            return Later(type(error).__name__)
        return balance_in(reply)

    async def link(self, path: str, body: Mapping[str, Any], key: Key) -> str | Gone | Later:
        """POST for a direct link, whose `data` is a string (docs/provider.md#download-links)."""
        try:
            reply = await self._exchange(self._reads, self._request("POST", path, key, body))
        except HTTP_FAILURES as error:
            return Later(type(error).__name__)
        if isinstance(reply, Reply) and reply.code == OK and isinstance(reply.data, str) and reply.data:
            return reply.data
        if isinstance(reply, Reply) and reply.code == INVALID and reply.coded:
            return Gone(reply.message)
        return Later("no link")

    def owns(self, uri: str) -> bool:
        """True for a result URL of KIE's, or of the base URL's own host as the sandbox serves them."""
        host = host_of(uri)
        own = bool(host) and urlsplit(uri).netloc == urlsplit(self._base).netloc
        return own or f".{host}".endswith(RESULT_SUFFIXES)

    async def _exchange(
        self, client: "HttpClient", request: httpx.Request, trace: Trace | None = None
    ) -> Reply | NonJson:
        """Send a request and count its outcome. Raises what the client raises."""
        try:
            reply = await client.exchange(request, trace)
        except HTTP_FAILURES as error:
            metrics.answered(self._name, type(error).__name__)
            raise
        metrics.answered(self._name, reply.code if isinstance(reply, Reply) else NOT_JSON)
        return reply

    def _request(self, method: str, path: str, key: Key, body: Mapping[str, Any] | None = None) -> httpx.Request:
        headers = {"Authorization": f"Bearer {key.value}", "Content-Type": "application/json"}
        content = orjson.dumps(body) if body is not None else None
        return httpx.Request(method, f"{self._base}{path}", headers={**HEADERS, **headers}, content=content)


class Family:
    """A family of KIE's API: what all have in common. Each gives its paths, and how it writes orders and reads records.

    `order_field` is the field of a record that quotes the order, and `prompt_of` the prompt in an order's body.
    """

    family: str

    def __init__(
        self,
        kie: Kie,
        *,
        submit_path: str,
        record_path: str,
        order_field: str,
        order_of: Callable[[Draft, str], dict[str, Any]],
        record_of: Callable[[dict[str, Any]], Record],
        prompt_of: Callable[[dict[str, Any]], str] = itemgetter("prompt"),
    ) -> None:
        self._kie = kie
        self._submit_path, self._record_path = submit_path, record_path
        self._order_field = order_field
        self._order_of, self._record_of, self._prompt_of = order_of, record_of, prompt_of

    async def submit(self, draft: Draft, callback_uri: str, key: Key, connected: Connected) -> Outcome:
        return await self._kie.submit(self._submit_path, self._order_of(draft, callback_uri), key, connected)

    async def fetch(self, task_id: str, key: Key) -> Record:
        return record_in(await self._record(task_id, key), self._record_of)

    async def recognise(self, task_id: str, draft: Draft, key: Key) -> Record | PromptMismatch:
        reply = await self._record(task_id, key)
        if is_foreign(reply, self._order_field, self._prompt_of(self._order_of(draft, ""))):
            return PromptMismatch()
        return record_in(reply, self._record_of)

    async def download_link(self, task_id: str, uri: str, key: Key) -> str | Gone | Later:
        """The common endpoint needs the URL alone."""
        del task_id
        return await self._kie.link(COMMON_LINK, {"url": uri}, key)

    def owns(self, uri: str) -> bool:
        return self._kie.owns(uri)

    async def _record(self, task_id: str, key: Key) -> Reply | NonJson | Later:
        return await self._kie.read(self._record_path, {"taskId": task_id}, key)


class HttpClient:
    """An HTTP client, and how long each of its calls may take."""

    def __init__(self, client: httpx.AsyncClient, timeouts: Timeouts) -> None:
        self._client = client
        self._timeouts = timeouts

    async def exchange(self, request: httpx.Request, trace: Trace | None = None) -> Reply | NonJson:
        """Send a request and decode its bounded reply."""
        request.extensions["timeout"] = self._timeouts.phases.as_dict()
        if trace:
            request.extensions["trace"] = trace
        async with asyncio.timeout(self._timeouts.total):
            response = await self._client.send(request, stream=True)
            try:
                return decode(response.status_code, await bounded(response), response.headers.get("retry-after", ""))
            finally:
                await response.aclose()


class SendTrace:
    """Follows a request through httpcore's trace, to know whether a byte may have been sent."""

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
async def open_kie(base_url: str, submit: Timeouts = SUBMIT, read: Timeouts = READ) -> AsyncIterator[Kie]:
    """Open the clients. A submit never reuses a connection: a stale one would make its failure ambiguous."""
    fresh = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(limits=fresh, trust_env=False) as submits,
        httpx.AsyncClient(trust_env=False) as reads,
    ):
        yield Kie(base_url, HttpClient(submits, submit), HttpClient(reads, read))


def callback_uris(origin: str) -> Callable[[str, str], str]:
    """The URL that KIE is told to call back, by family and token: the seed's path with the token at its end."""
    return lambda family, token: f"{origin}/api/callback/{CALLBACK_KINDS[family]}/{token}"
