"""Hostile URLs end before anything is sent: none of them may reach the transport."""

import socket

import httpx
import pytest

from services.chassis.errors import InvalidArgument, KawaiiError, Unavailable
from services.storage.fetcher import HttpFetcher
from services.storage.guard import Guard
from services.storage.settings import StorageSettings
from tests.storage.samples import picture
from tests.storage.urls import FORMS, HONEST, LITERALS

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


async def fetched(fetcher: HttpFetcher, uri: str) -> bytes:
    async with fetcher.fetch(uri) as chunks:
        return b"".join([chunk async for chunk in chunks])


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
