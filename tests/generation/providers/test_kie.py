"""A submit over real sockets: what is provably unsent, what is not, and never a second request.

See docs/durable-core.md#outcome-classes.
"""

import asyncio
import gzip
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from services.generation.key_pool.pool import Key
from services.generation.outcomes import Accepted, Ambiguous, Later, NotSent, Outcome, Refused, Rejected
from services.generation.ports import FenceLost
from services.generation.providers.kie import Kie, Timeouts, open_kie
from services.generation.providers.replies import NonJson, Reply
from tests.generation.upstream import Behaviour, Upstream, page, raw, reply
from tests.support.ports import free_port

KEY = Key.of("one", "secret-key")
OK = {"code": 200, "msg": "success", "data": {"taskId": "task1"}}
BRIEF = Timeouts(httpx.Timeout(connect=0.3, read=0.2, write=1, pool=1), 0.6)  # only for upstreams that never answer
PATIENT = Timeouts(httpx.Timeout(10), 30)


@asynccontextmanager
async def kie_at(url: str, patience: Timeouts = PATIENT) -> AsyncIterator[Kie]:
    async with open_kie(url, submit=patience, read=patience) as kie:
        yield kie


async def no_fence() -> None:
    """SENDING is committed."""


async def submitted(url: str, patience: Timeouts = PATIENT) -> Outcome:
    async with kie_at(url, patience) as kie:
        return await kie.submit("/generate", {"prompt": "a cat"}, KEY, no_fence)


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Cut the connection, without a word."""
    writer.transport.abort()


async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up politely, without a word."""
    writer.close()


async def reset_in_headers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    writer.transport.abort()


async def reset_in_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{"code":200,"data":{"task')
    await writer.drain()
    writer.transport.abort()


async def silence(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the order and never answer."""
    await asyncio.Event().wait()


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, each within the read timeout, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def bomb(size: int) -> Behaviour:
    """A small compressed body that is a large one."""
    packed = gzip.compress(json.dumps({"code": 429, "pad": "x" * size}).encode())
    return page(200, packed, "Content-Encoding: gzip", "Content-Type: application/json")


LOST = [
    pytest.param(reset, id="reset before the reply"),
    pytest.param(close, id="closed before the reply"),
    pytest.param(reset_in_headers, id="reset in the headers"),
    pytest.param(reset_in_body, id="reset in the body"),
    pytest.param(raw(b"garbage\r\n\r\n"), id="no HTTP"),
    pytest.param(page(524, b"<html>A timeout occurred</html>", "Content-Type: text/html"), id="524 page"),
    pytest.param(page(502, b"<html>Bad gateway</html>"), id="502 page"),
    pytest.param(page(403, b"error code: 1010"), id="1010 page"),
    pytest.param(page(200, b"<html>hello</html>"), id="200 page"),
    pytest.param(page(200, b""), id="nothing"),
    pytest.param(reply({"code": 500, "msg": "oops"}, 500), id="500"),
    pytest.param(reply({"code": 500, "msg": "oops"}), id="500 in 200"),
    pytest.param(reply({"code": 200, "data": None}), id="no task id"),
    pytest.param(page(307, b"", "Location: /elsewhere"), id="redirect"),
    pytest.param(reply({**OK, "pad": "x" * 300_000}), id="more than the bound"),
    pytest.param(bomb(20_000_000), id="bomb"),
    pytest.param(page(200, b"not gzip", "Content-Encoding: gzip"), id="a lie about gzip"),
]


@pytest.mark.parametrize("behaviour", LOST)
async def test_an_answer_that_proves_nothing_is_ambiguous_and_never_sent_again(behaviour: Behaviour) -> None:
    async with Upstream(behaviour) as upstream:
        outcome = await submitted(upstream.url)

    assert type(outcome) is Ambiguous
    assert (upstream.connections, len(upstream.requests)) == (1, 1)


@pytest.mark.parametrize("behaviour", [silence, drip])
async def test_an_answer_that_never_ends_is_ambiguous(behaviour: Behaviour) -> None:
    async with Upstream(behaviour) as upstream:
        outcome = await submitted(upstream.url, BRIEF)

    assert type(outcome) is Ambiguous
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (reply(OK), Accepted("task1")),
        (reply(OK, 200, "Connection: close"), Accepted("task1")),
        (reply({"code": 402, "msg": "Credits insufficient : top up"}), Refused(402, "Credits insufficient : top up")),
        (reply({"code": 429, "msg": "slow"}, 429, "Retry-After: 7"), Refused(429, "slow", 7.0)),
        (reply({"code": 401, "msg": "no"}, 401), Refused(401, "no")),
        (reply({"code": 422, "msg": "size"}), Rejected(422, "size")),
    ],
)
async def test_an_answer_in_so_many_words_is_taken(behaviour: Behaviour, outcome: Outcome) -> None:
    async with Upstream(behaviour) as upstream:
        assert await submitted(upstream.url) == outcome

    assert len(upstream.requests) == 1


async def test_a_refused_connection_is_not_sent() -> None:
    assert type(await submitted(f"http://127.0.0.1:{free_port()}")) is NotSent


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "http://", "ftp://127.0.0.1"])
async def test_an_address_that_leads_nowhere_is_not_sent(url: str) -> None:
    assert type(await submitted(url)) is NotSent


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate that nobody vouches for."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing, which makes the certificate")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


async def test_a_certificate_that_nobody_vouches_for_stops_the_order_unsent(self_signed: ssl.SSLContext) -> None:
    async with Upstream(reply(OK), tls=self_signed) as upstream:
        outcome = await submitted(upstream.url)

    assert type(outcome) is NotSent
    assert upstream.requests == []


async def test_a_server_that_speaks_no_tls_gets_nothing() -> None:
    async with Upstream(raw(b"HTTP/1.1 400 no TLS here\r\n\r\n")) as upstream:
        outcome = await submitted(upstream.url.replace("http://", "https://"), BRIEF)

    assert type(outcome) is NotSent


async def test_sending_is_committed_before_the_first_byte_leaves() -> None:
    async with Upstream(reply(OK)) as upstream, kie_at(upstream.url) as kie:

        async def commit() -> None:
            upstream.events.append("dialed" if upstream.connections else "too early")
            for _ in range(20):  # time in which a byte that had left would arrive
                await asyncio.sleep(0.005)
            upstream.events.append("committed")

        await kie.submit("/generate", {"prompt": "a cat"}, KEY, commit)

    assert upstream.events == ["dialed", "committed", "first byte"]


@pytest.mark.parametrize("error", [FenceLost("gen_1"), OSError("the database is away")])
async def test_nothing_is_sent_when_sending_cannot_be_committed(error: Exception) -> None:
    async def refuse() -> None:
        raise error

    async with Upstream(reply(OK)) as upstream, kie_at(upstream.url) as kie:
        with pytest.raises(type(error)):
            await kie.submit("/generate", {"prompt": "a cat"}, KEY, refuse)
        await asyncio.sleep(0)

    assert upstream.requests == []


async def test_a_submit_never_rides_on_a_used_connection() -> None:
    """A connection that went stale while idle would make a failure ambiguous."""
    async with Upstream(reply(OK)) as upstream, kie_at(upstream.url) as kie:
        for _ in range(3):
            await kie.submit("/generate", {}, KEY, no_fence)

    assert (upstream.connections, len(upstream.requests)) == (3, 3)


async def test_a_cancelled_submit_is_not_sent_again() -> None:
    async with Upstream(silence) as upstream, kie_at(upstream.url) as kie:
        task = asyncio.create_task(kie.submit("/generate", {}, KEY, no_fence))
        await upstream.asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert len(upstream.requests) == 1


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    async with Upstream(reply(OK)) as upstream:
        assert await submitted(upstream.url) == Accepted("task1")


async def test_a_record_is_read() -> None:
    async with (
        Upstream(reply({"code": 200, "msg": "success", "data": {"a": 1}})) as upstream,
        kie_at(upstream.url) as kie,
    ):
        answer = await kie.read("/record-info", {"taskId": "task1"}, KEY)

    assert isinstance(answer, Reply)
    assert answer.data == {"a": 1}


@pytest.mark.parametrize("behaviour", [reset, reset_in_body, raw(b"garbage\r\n\r\n")])
async def test_a_record_that_cannot_be_read_comes_later(behaviour: Behaviour) -> None:
    async with Upstream(behaviour) as upstream, kie_at(upstream.url) as kie:
        assert isinstance(await kie.read("/record-info", {"taskId": "task1"}, KEY), Later)
        assert isinstance(await kie.link("/download-url", {}, KEY), Later)


@pytest.mark.parametrize("behaviour", [silence, drip])
async def test_a_record_that_never_ends_comes_later(behaviour: Behaviour) -> None:
    async with Upstream(behaviour) as upstream, kie_at(upstream.url, BRIEF) as kie:
        assert isinstance(await kie.read("/record-info", {"taskId": "task1"}, KEY), Later)


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1"])
async def test_a_record_at_a_wrong_address_comes_later(url: str) -> None:
    async with kie_at(url) as kie:
        assert isinstance(await kie.read("/record-info", {"taskId": "task1"}, KEY), Later)
        assert isinstance(await kie.link("/download-url", {}, KEY), Later)


async def test_a_page_instead_of_a_record_is_told_apart() -> None:
    async with Upstream(page(524, b"<html>")) as upstream, kie_at(upstream.url) as kie:
        assert await kie.read("/record-info", {}, KEY) == NonJson(524, "<html>")
