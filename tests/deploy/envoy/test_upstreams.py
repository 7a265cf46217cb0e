"""Envoy before several processes of one kind: balance, health, reads that are read elsewhere, DNS, mutual TLS."""

import asyncio
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

import httpx
import pytest

from deploy.launcher.settings import LauncherSettings
from tests.deploy.envoy.running import Admin, envoy, upstream
from tests.support.certificates import Authority
from tests.support.polling import eventually

READS, AT_ONCE = 200, 8
LEAST, MOST = 0.35, 0.65
NAME = "gateway.fleet.test"
PUBLIC, FIRST, SECOND, RESOLVER = 10, 11, 12, 13  # offsets of ports


def settings_of(base: int, **fields: object) -> LauncherSettings:
    """An Envoy on loopback before gateways that the fields name."""
    loopback = IPv4Address("127.0.0.1")
    return LauncherSettings(bind_address=loopback, port=base + PUBLIC, internal_port_base=base, **fields)  # type: ignore[arg-type]


def two(base: int) -> str:
    """The addresses of two gateways."""
    return f"127.0.0.1:{base + FIRST},127.0.0.1:{base + SECOND}"


@asynccontextmanager
async def client_of(settings: LauncherSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", trust_env=False, timeout=30.0) as client:
        yield client


async def read(
    client: httpx.AsyncClient, number: int = READS, halfway: Callable[[], None] = lambda: None
) -> Counter[str]:
    """Read so often, some at once; who answered, or the status of what was not answered.

    `halfway` is called when half of the answers are there.
    """
    answers: Counter[str] = Counter()
    left = iter(range(number))

    async def work() -> None:
        for _ in left:
            answer = await client.get("/api/share/list")
            answers[answer.json()["name"] if answer.is_success else str(answer.status_code)] += 1
            if answers.total() == number // 2:
                halfway()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return answers


async def all_well(folder: Path, number: int = 2) -> bool:
    """Whether Envoy's checks have found so many gateways well."""
    text = (await Admin(folder).get("/stats", filter=r"^cluster\.gateway\.membership_healthy$")).text
    return int(text.split()[-1]) == number


async def test_two_gateways_answer_half_of_the_requests_each(base: int, tmp_path: Path) -> None:
    settings = settings_of(base, gateway_upstream=two(base))
    async with upstream("a", base + FIRST), upstream("b", base + SECOND), envoy(settings, tmp_path):
        await eventually(lambda: all_well(tmp_path))
        async with client_of(settings) as client:
            assert await eventually(lambda: both(client))


async def test_who_only_reads_notices_nothing_of_a_gateway_that_is_killed(base: int, tmp_path: Path) -> None:
    settings = settings_of(base, gateway_upstream=two(base))
    async with upstream("a", base + FIRST) as victim, upstream("b", base + SECOND), envoy(settings, tmp_path):
        await eventually(lambda: all_well(tmp_path))
        async with client_of(settings) as client:
            answers, later = await read(client, halfway=victim.kill), await read(client)
        async with upstream("a", base + FIRST), client_of(settings) as client:
            await eventually(lambda: all_well(tmp_path))
            again = await eventually(lambda: both(client))

    assert answers.keys() <= {"a", "b"}
    assert answers["b"] > answers["a"]
    assert later == {"b": READS}
    assert again


async def both(client: httpx.AsyncClient) -> bool:
    """Whether both gateways answer, each its part."""
    answers = await read(client)
    return all(LEAST * READS <= answers[name] <= MOST * READS for name in "ab")


async def test_a_write_that_was_sent_is_not_sent_to_another_gateway(base: int, tmp_path: Path) -> None:
    settings = settings_of(base, gateway_upstream=two(base))
    async with upstream("a", base + FIRST) as victim, upstream("b", base + SECOND), envoy(settings, tmp_path):
        await eventually(lambda: all_well(tmp_path))
        async with client_of(settings) as client, httpx.AsyncClient() as directly:

            async def writes(port: int) -> int:
                return int((await directly.get(f"http://127.0.0.1:{base + port}/")).json()["writes"])

            async def arrived() -> bool:
                return await writes(FIRST) + await writes(SECOND) == AT_ONCE

            orders = [asyncio.create_task(client.post("/api/share", json={})) for _ in range(AT_ONCE)]
            await eventually(arrived)
            victim.kill()
            answers = await asyncio.gather(*orders)
            at_b = await writes(SECOND)

    assert at_b == AT_ONCE // 2
    assert sorted(answer.status_code for answer in answers) == [200] * at_b + [503] * (AT_ONCE - at_b)
    assert {answer.json()["code"] for answer in answers if answer.is_error} == {"UNAVAILABLE"}


async def test_a_gateway_that_says_that_it_drains_gets_no_requests_until_it_serves_again(
    base: int, tmp_path: Path
) -> None:
    settings = settings_of(base, gateway_upstream=two(base))
    async with upstream("a", base + FIRST) as one, upstream("b", base + SECOND), envoy(settings, tmp_path):
        await eventually(lambda: all_well(tmp_path))
        async with client_of(settings) as client:
            one.send_signal(signal.SIGUSR1)
            await eventually(lambda: all_well(tmp_path, 1), 10.0)
            meanwhile = await read(client)
            one.send_signal(signal.SIGUSR1)
            again = await eventually(lambda: both(client))

    assert meanwhile == {"b": READS}
    assert again


async def test_the_only_gateway_is_tried_even_if_it_says_that_it_drains(base: int, tmp_path: Path) -> None:
    settings = settings_of(base, gateway_upstream=f"127.0.0.1:{base + FIRST}")
    async with upstream("a", base + FIRST) as one, envoy(settings, tmp_path), client_of(settings) as client:
        one.send_signal(signal.SIGUSR1)
        await eventually(lambda: all_well(tmp_path, 0), 10.0)
        answers = await read(client, AT_ONCE)

    assert answers == {"a": AT_ONCE}


async def test_nobody_outside_asks_a_process_whether_it_is_ready(base: int, tmp_path: Path) -> None:
    settings = settings_of(base)
    async with upstream("a", base), envoy(settings, tmp_path), client_of(settings) as client:
        answer = await client.get("/-/ready")

    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


class Names(asyncio.DatagramProtocol):
    """A DNS server that knows the addresses of one name."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer A with all addresses, and anything else with none."""
        end = data.index(b"\0", 12) + 5  # the question: a name, its type and its class
        question = data[12:end]
        addresses = self.addresses if struct.unpack("!H", data[end - 4 : end - 2])[0] == 1 else []
        head = data[:2] + struct.pack("!HHHHH", 0x8580, 1, len(addresses), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(each) for each in addresses]
        assert self._transport
        self._transport.sendto(head + question + b"".join(records), addr)


def asks(port: int) -> str:
    """What has Envoy ask a DNS server of ours."""
    return f"""
typed_dns_resolver_config:
  name: envoy.network.dns_resolver.cares
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
    resolvers: [{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
async def test_a_name_stands_for_all_its_addresses_as_dns_has_them_now(base: int, tmp_path: Path) -> None:
    settings = settings_of(base, gateway_upstream=f"{NAME}:{base + FIRST}")
    names = Names()
    names.addresses = ["127.0.0.2", "127.0.0.3"]
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(lambda: names, local_addr=("127.0.0.1", base + RESOLVER))
    async with AsyncExitStack() as stack:
        stack.callback(server.close)
        for name, host in (("a", "127.0.0.2"), ("b", "127.0.0.3"), ("c", "127.0.0.4")):
            await stack.enter_async_context(upstream(name, base + FIRST, host=host))
        await stack.enter_async_context(envoy(settings, tmp_path, lambda text: text + asks(base + RESOLVER)))
        client = await stack.enter_async_context(client_of(settings))
        await eventually(lambda: all_well(tmp_path))
        before = await read(client)
        names.addresses = ["127.0.0.3", "127.0.0.4"]

        async def followed() -> bool:
            return (await read(client)).keys() == {"b", "c"}

        await eventually(followed)

    assert before.keys() == {"a", "b"}


@asynccontextmanager
async def with_tls(
    base: int, folder: Path, authority: Authority, gateway: str
) -> AsyncIterator[tuple[httpx.AsyncClient, LauncherSettings]]:
    """An Envoy with a certificate of its own before a process that has one of the gateway, or another's."""
    for process in ("envoy", gateway):
        authority.issue(process)
    settings = settings_of(base, gateway_upstream=f"127.0.0.1:{base + FIRST}", **authority.fields("envoy"))
    files = authority.fields(gateway).values()
    async with upstream("a", base + FIRST, *files), envoy(settings, folder), client_of(settings) as client:
        yield client, settings


async def test_envoy_and_the_gateway_show_each_other_their_certificates(base: int, tmp_path: Path) -> None:
    """And a replaced one of Envoy's is shown without a restart, and without one failure."""
    authority = Authority.of(tmp_path / "certificates")
    async with with_tls(base, tmp_path, authority, "gateway") as (client, _):
        await eventually(lambda: all_well(tmp_path, 1))
        serial = (await client.get("/close")).json()["serial"]
        statuses: set[int] = set()

        async def changed() -> bool:
            answer = await client.get("/close")
            statuses.add(answer.status_code)
            return bool(answer.json()["serial"] != serial)

        unchanged = await changed()
        authority.issue("envoy")
        await eventually(changed)

    assert serial
    assert not unchanged
    assert statuses == {200}


@pytest.mark.parametrize("gateway", ["storage", "operator"])
async def test_a_process_that_is_not_the_gateway_gets_no_request(base: int, tmp_path: Path, gateway: str) -> None:
    async with with_tls(base, tmp_path, Authority.of(tmp_path / "certificates"), gateway) as (client, _):
        answer = await client.get("/api/share/list")

    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")


async def test_a_gateway_of_another_authority_gets_no_request(base: int, tmp_path: Path) -> None:
    stranger = Authority.of(tmp_path / "stranger")
    stranger.issue("gateway")
    authority = Authority.of(tmp_path / "certificates")
    authority.issue("envoy")
    settings = settings_of(base, gateway_upstream=f"127.0.0.1:{base + FIRST}", **authority.fields("envoy"))
    files = stranger.fields("gateway").values()
    async with upstream("a", base + FIRST, *files), envoy(settings, tmp_path), client_of(settings) as client:
        answer = await client.get("/api/share/list")

    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
