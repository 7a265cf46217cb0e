"""The fetcher and real servers, well behaved and not; and hostile URLs, which end before a packet is sent."""

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from services.chassis.errors import InvalidArgument, KawaiiError, NotFound, Unavailable
from services.storage.fetcher import Guard, HttpFetcher, authorities_of, open_fetcher, open_fetchers
from services.storage.ports import Fetcher
from services.storage.settings import StorageSettings
from tests.storage.samples import Remote, answer, ok, open_remote, picture
from tests.storage.urls import FORMS, HONEST, LITERALS
from tests.support.polling import eventually
from tests.support.ports import free_port


async def fetched(fetcher: Fetcher, uri: str) -> bytes:
    async with fetcher.fetch(uri) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_a_picture_arrives_byte_for_byte(fetcher: HttpFetcher, remote: Remote) -> None:
    assert await fetched(fetcher, remote.put("/a.png", ok(picture(size=200_000)))) == picture(size=200_000)


async def test_a_redirect_is_followed(fetcher: HttpFetcher, remote: Remote) -> None:
    remote.put("/b.png", ok(picture()))

    assert await fetched(fetcher, remote.put("/a.png", answer(302, "Location: /b.png"))) == picture()


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_source_that_says_so_is_gone(fetcher: HttpFetcher, remote: Remote, status: int) -> None:
    with pytest.raises(NotFound) as gone:
        await fetched(fetcher, remote.put("/a.png", answer(status, "Content-Length: 0")))

    assert gone.value.reason == "SOURCE_GONE"


GZIPPED = gzip.compress(picture())
BROKEN = {
    "server error": answer(500, "Content-Length: 0"),
    "slow down": answer(503, "Content-Length: 0", "Retry-After: 1"),
    "too many requests": answer(429, "Content-Length: 0"),
    "redirect to nowhere": answer(302, "Content-Length: 0"),
    "no content": answer(204),
    "shorter than it says": answer(200, "Content-Length: 5000") + picture(size=4000),
    "cut chunk": answer(200, "Transfer-Encoding: chunked") + b"ff\r\nabc",
    "chunks without an end": answer(200, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n",
    "no HTTP at all": b"+OK ready\r\n",
    "nothing": b"",
    "packed although we asked for plain": answer(200, "Content-Encoding: gzip", f"Content-Length: {len(GZIPPED)}")
    + GZIPPED,
}


@pytest.mark.parametrize("trouble", sorted(BROKEN))
async def test_a_source_in_trouble_may_come_back(fetcher: HttpFetcher, remote: Remote, trouble: str) -> None:
    with pytest.raises(KawaiiError) as failure:
        await fetched(fetcher, remote.put("/a.png", BROKEN[trouble]))

    assert failure.value.reason == "SOURCE_UNAVAILABLE"
    assert failure.value.retry_after


@pytest.mark.parametrize("beginning", [b"", ok(b"")[:20], answer(200, "Content-Length: 9000") + picture()])
async def test_a_source_that_falls_silent_is_left(fetcher: HttpFetcher, remote: Remote, beginning: bytes) -> None:
    with pytest.raises(KawaiiError) as failure:
        await fetched(fetcher, remote.put_hanging("/a.png", beginning))

    assert failure.value.reason == "SOURCE_UNAVAILABLE"


async def test_a_fetch_ends_when_its_whole_time_is_up(remote: Remote, settings: StorageSettings) -> None:
    impatient = settings.model_copy(update={"fetch_total_seconds": 0.1, "fetch_read_seconds": 60.0})
    async with open_fetcher(impatient, 1) as fetcher:
        with pytest.raises(KawaiiError) as failure:
            await fetched(fetcher, remote.put_hanging("/a.png", b""))

    assert failure.value.reason == "SOURCE_UNAVAILABLE"


async def test_nobody_listening_is_trouble_not_loss(settings: StorageSettings) -> None:
    port = free_port()
    async with open_fetcher(settings, 1, Guard(frozenset({f"127.0.0.1:{port}"}))) as fetcher:
        with pytest.raises(KawaiiError) as failure:
            await fetched(fetcher, f"http://127.0.0.1:{port}/a.png")

    assert failure.value.reason == "SOURCE_UNAVAILABLE"


async def test_the_next_address_is_tried_when_the_first_does_not_answer(
    remote: Remote, settings: StorageSettings
) -> None:
    async def two(_host: str, _port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    guard = Guard(frozenset({f"pictures.example:{remote.port}"}), two)
    remote.put("/a.png", ok(picture()))
    async with open_fetcher(settings, 1, guard) as fetcher:
        assert await fetched(fetcher, f"http://pictures.example:{remote.port}/a.png") == picture()

    assert f"Host: pictures.example:{remote.port}" in remote.requests[0]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for pictures.example alone, with its key in the same file."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing, which makes the certificate for this test")
    both = tmp_path / "both.pem"
    names = ["-subj", "/CN=pictures.example", "-addext", "subjectAltName=DNS:pictures.example"]
    shape = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    made: list[str | Path] = ["openssl", "req", *shape, *names, "-keyout", both, "-out", tmp_path / "cert.pem"]
    subprocess.run(made, check=True, capture_output=True)
    both.write_bytes(both.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return both


async def test_tls_is_made_with_the_name_although_the_connection_goes_to_an_address(
    certificate: Path, settings: StorageSettings
) -> None:
    async def here(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    serving.load_cert_chain(certificate)
    trusting.load_verify_locations(certificate)
    async with open_remote(serving) as remote, httpx.AsyncHTTPTransport(verify=trusting) as transport:
        remote.put("/a.png", ok(picture()))
        allowed = frozenset(f"{name}:{remote.port}" for name in ("pictures.example", "other.example"))
        fetcher = HttpFetcher(transport, Guard(allowed, here), settings)

        assert await fetched(fetcher, f"https://pictures.example:{remote.port}/a.png") == picture()
        with pytest.raises(KawaiiError) as failure:
            await fetched(fetcher, f"https://other.example:{remote.port}/a.png")
        assert failure.value.reason == "SOURCE_UNAVAILABLE"


async def test_proxies_of_the_environment_are_ignored(
    fetcher: HttpFetcher, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert await fetched(fetcher, remote.put("/a.png", ok(picture()))) == picture()


async def test_a_connection_that_ends_elsewhere_than_vetted_carries_nothing(
    remote: Remote, settings: StorageSettings
) -> None:
    """As when a proxy stands in between: the peer is not the address that was vetted."""

    async def vetted(_host: str, _port: int) -> list[str]:
        return ["93.184.215.14"]

    remote.put("http://93.184.215.14/a.png", ok(picture()))
    async with httpx.AsyncHTTPTransport(proxy=remote.url("")) as transport:
        with pytest.raises(InvalidArgument) as refusal:
            await fetched(HttpFetcher(transport, Guard(frozenset(), vetted), settings), "http://pictures.example/a.png")

    assert refusal.value.reason == "URL_NOT_ALLOWED"
    assert remote.visits == []


@pytest.mark.parametrize("location", ["//[::1", "http://a:port/", "/" + "a" * 66_000, "http://\xff/"])
async def test_a_redirect_to_what_is_no_url_is_refused(fetcher: HttpFetcher, remote: Remote, location: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await fetched(fetcher, remote.put("/a.png", answer(302, f"Location: {location}")))

    assert refusal.value.reason == "URL_NOT_ALLOWED"


async def test_imports_that_hang_do_not_hold_up_a_copy(remote: Remote, settings: StorageSettings) -> None:
    """All connections for imports are taken by a server that stays silent; a copy has connections of its own."""
    patient = settings.model_copy(
        update={"fetch_connections": 2, "fetch_read_seconds": 60.0, "fetch_total_seconds": 60.0}
    )
    slow = remote.put_hanging("/slow.png", b"")
    fast = remote.put("/fast.png", ok(picture()))
    async with open_fetchers(patient) as fetchers:
        hanging = [asyncio.create_task(fetched(fetchers.imports, slow)) for _ in range(8)]
        await eventually(lambda: len(remote.visits) == 2)
        copied = await fetched(fetchers.copies, fast)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    assert copied == picture()
    assert remote.visits == ["/slow.png", "/slow.png", "/fast.png"]


async def test_nothing_is_fetched_from_our_own_origin(remote: Remote, settings: StorageSettings) -> None:
    """Also by a redirect: what lies there is ours already, and a route of ours could call itself for ever."""

    async def look_up(host: str, _port: int) -> list[str]:
        return [host if host == "127.0.0.1" else "93.184.215.14"]

    remote.put("/a.png", answer(302, "Location: http://site.example/files/generated/a.png"))
    guard = Guard(settings.outbound_allow_private, look_up, authorities_of(settings.origin))
    async with open_fetcher(settings, 1, guard) as fetcher:
        for uri in ("https://site.example/api/img", "http://SITE.example.:80/", remote.url("/a.png")):
            with pytest.raises(InvalidArgument) as refusal:
                await fetched(fetcher, uri)
            assert refusal.value.reason == "URL_NOT_ALLOWED"


async def test_a_check_sends_nothing_and_passes_what_cannot_be_looked_up(
    remote: Remote, settings: StorageSettings
) -> None:
    async def look_up(host: str, _port: int) -> list[str]:
        if host == "lost.example":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return {"inside.example": ["10.0.0.7"]}.get(host, ["93.184.215.14"])

    guard = Guard(settings.outbound_allow_private, look_up, authorities_of(settings.origin))
    async with open_fetcher(settings, 1, guard) as fetcher:
        for uri in ("https://public.example/a", "https://lost.example/a", "https://site.example/a", remote.url("/a")):
            await fetcher.check(uri)
        with pytest.raises(InvalidArgument):
            await fetcher.check("https://inside.example/a")

    assert remote.visits == []


NAMES = {
    "public.example": ["93.184.215.14"],
    "both.example": ["2606:4700::1", "93.184.215.14"],
    "inside.example": ["10.0.0.7"],
    "metadata.example": ["169.254.169.254"],
    "mixed.example": ["93.184.215.14", "127.0.0.1"],
    "mixed6.example": ["2606:4700::1", "fd00::1"],
    "kie.ai.evil.example": ["127.0.0.1"],
    "loop6.example": ["::1"],
    "mapped.example": ["::ffff:10.0.0.1"],
}


async def look_up(host: str, port: int) -> list[str]:
    """A name server of our own; what only the system can read, a number for example, the system reads."""
    known = NAMES.get(host.lower().rstrip("."))
    if known:
        return known
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Canary:
    """A transport that notes whatever reaches it."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answers: list[httpx.Response] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else httpx.Response(200, stream=httpx.ByteStream(picture()))


@pytest.fixture
def canary() -> Canary:
    return Canary()


@pytest.fixture
def guarded(canary: Canary, settings: StorageSettings) -> HttpFetcher:
    return HttpFetcher(httpx.MockTransport(canary), Guard(frozenset({"inside.example:8080"}), look_up), settings)


@pytest.mark.parametrize("uri", LITERALS + FORMS)
async def test_a_hostile_url_is_refused_before_anything_is_sent(guarded: HttpFetcher, canary: Canary, uri: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await fetched(guarded, uri)

    assert refusal.value.reason == "URL_NOT_ALLOWED"
    assert canary.requests == []


@pytest.mark.parametrize("uri", HONEST)
async def test_an_honest_url_is_fetched(guarded: HttpFetcher, uri: str) -> None:
    assert await fetched(guarded, uri) == picture()


async def test_the_connection_goes_to_the_vetted_address_and_keeps_the_name(
    guarded: HttpFetcher, canary: Canary
) -> None:
    await fetched(guarded, "https://public.example/a.png?x=1")

    request = canary.requests[0]
    assert str(request.url) == "https://93.184.215.14/a.png?x=1"
    assert request.headers["Host"] == "public.example"
    assert request.extensions["sni_hostname"] == "public.example"
    assert request.headers["Accept-Encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & set(request.headers)


async def test_an_exempt_host_and_port_may_be_private_and_its_neighbour_port_may_not(guarded: HttpFetcher) -> None:
    assert await fetched(guarded, "http://inside.example:8080/a.png") == picture()
    with pytest.raises(InvalidArgument):
        await fetched(guarded, "http://inside.example:8081/a.png")
    with pytest.raises(InvalidArgument):
        await fetched(guarded, "http://inside.example/a.png")


async def test_an_exempt_ipv6_address_is_named_in_brackets(canary: Canary, settings: StorageSettings) -> None:
    fetcher = HttpFetcher(httpx.MockTransport(canary), Guard(frozenset({"[::1]:8080"}), look_up), settings)

    assert await fetched(fetcher, "http://[::1]:8080/a.png") == picture()
    with pytest.raises(InvalidArgument):
        await fetched(fetcher, "http://[::1]:8081/a.png")


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/", "http://inside.example/", "file:///etc/passwd", "//mixed.example/", "http://[::1]/"],
)
async def test_a_redirect_to_the_inside_is_refused(guarded: HttpFetcher, canary: Canary, location: str) -> None:
    canary.answers = [httpx.Response(302, headers={"Location": location})]

    with pytest.raises(InvalidArgument) as refusal:
        await fetched(guarded, "http://public.example/a.png")
    assert refusal.value.reason == "URL_NOT_ALLOWED"
    assert len(canary.requests) == 1


async def test_a_redirect_from_https_to_http_is_refused(guarded: HttpFetcher, canary: Canary) -> None:
    canary.answers = [httpx.Response(301, headers={"Location": "http://public.example/a.png"})]

    with pytest.raises(InvalidArgument):
        await fetched(guarded, "https://public.example/a.png")


async def test_three_redirects_are_followed_and_each_is_vetted_under_its_own_name(
    guarded: HttpFetcher, canary: Canary
) -> None:
    hops = ["https://both.example/b", "/c", "https://public.example/d"]
    canary.answers = [httpx.Response(302, headers={"Location": hop}) for hop in hops]

    assert await fetched(guarded, "http://public.example/a.png") == picture()
    assert [request.headers["Host"] for request in canary.requests] == [
        "public.example",
        "both.example",
        "both.example",
        "public.example",
    ]
    assert str(canary.requests[2].url) == "https://[2606:4700::1]/c"


async def test_a_fourth_redirect_is_not_followed(guarded: HttpFetcher, canary: Canary) -> None:
    canary.answers = [httpx.Response(302, headers={"Location": "/again"}) for _ in range(4)]

    with pytest.raises(Unavailable) as failure:
        await fetched(guarded, "http://public.example/a.png")
    assert failure.value.reason == "SOURCE_UNAVAILABLE"
    assert len(canary.requests) == 4


async def test_a_name_that_answers_differently_the_second_time_gains_nothing(
    canary: Canary, settings: StorageSettings
) -> None:
    """DNS rebinding: one look-up a hop, and the connection goes to what was vetted."""
    answers = [["93.184.215.14"], ["127.0.0.1"]]

    async def rebinding(_host: str, _port: int) -> list[str]:
        return answers.pop(0)

    fetcher = HttpFetcher(httpx.MockTransport(canary), Guard(frozenset(), rebinding), settings)

    assert await fetched(fetcher, "http://turns.example/a.png") == picture()
    assert [request.url.host for request in canary.requests] == ["93.184.215.14"]
    with pytest.raises(InvalidArgument):
        await fetched(fetcher, "http://turns.example/a.png")


async def test_a_cookie_is_never_sent_back(guarded: HttpFetcher, canary: Canary) -> None:
    canary.answers = [httpx.Response(302, headers={"Location": "/b", "Set-Cookie": "a=b"})]
    await fetched(guarded, "http://public.example/a.png")
    await fetched(guarded, "http://public.example/a.png")

    assert all("cookie" not in request.headers for request in canary.requests)


async def test_a_name_that_cannot_be_resolved_may_be_tried_later(settings: StorageSettings, canary: Canary) -> None:
    async def lost(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    fetcher = HttpFetcher(httpx.MockTransport(canary), Guard(frozenset(), lost), settings)
    with pytest.raises(KawaiiError) as failure:
        await fetched(fetcher, "http://public.example/a.png")

    assert failure.value.reason == "SOURCE_UNAVAILABLE"


async def test_a_name_too_long_for_any_server_is_no_crash(settings: StorageSettings, canary: Canary) -> None:
    fetcher = HttpFetcher(httpx.MockTransport(canary), Guard(frozenset()), settings)
    with pytest.raises(KawaiiError):
        await fetched(fetcher, f"http://{'a' * 300}.invalid/a.png")

    assert canary.requests == []
