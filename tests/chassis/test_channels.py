"""Outgoing calls end before the call they serve, are spread over replicas, and none fails when a replica stops."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio

from services.chassis import context
from services.chassis.channels import DEFAULT_SECONDS, HOP_SECONDS, connect, plain_channel, timeout_of
from services.chassis.errors import DeadlineExceeded, Unavailable
from services.chassis.health import Health
from services.chassis.repeated_reads import LEAST_SECONDS
from services.chassis.settings import CommonSettings
from services.chassis.status import translated
from services.chassis.tls import InternalTls, internal_tls
from tests.chassis.echo import SERVICE, SHAPES, STREAMED, Client, Echo, echoing, mount, register
from tests.chassis.replicas import Process, answers, only, target_of
from tests.support.certificates import Authority
from tests.support.dns import serving_dns
from tests.support.polling import eventually
from tests.support.ports import free_port, listening
from tests.support.servers import serving

BOUNDED = [shape for shape in SHAPES if shape not in STREAMED]


@pytest.fixture
def deadline() -> Iterator[None]:
    """Leaves no deadline behind."""
    token = context.deadline.set(None)
    yield
    context.deadline.reset(token)


async def tell_remaining(_text: str) -> str:
    return str(context.time_remaining())


@pytest.mark.parametrize("shape", BOUNDED)
async def test_an_inner_call_gets_what_the_outer_has_left(shape: str) -> None:
    async with echoing(tell_remaining) as neighbour:

        async def outer(text: str) -> str:
            return await neighbour.ask(shape, text)

        async with echoing(outer) as client:
            remaining = float(await client.ask("unary_unary", "", timeout=3))

    assert 0 < remaining < 3


async def test_an_inner_call_may_ask_for_less() -> None:
    async with echoing(tell_remaining) as neighbour:

        async def outer(text: str) -> str:
            return await neighbour.ask("unary_unary", text, timeout=2)

        async with echoing(outer) as client:
            remaining = float(await client.ask("unary_unary", "", timeout=60))

    assert 0 < remaining < 3  # gRPC rounds what it writes on the wire


async def test_an_inner_call_may_not_ask_for_more() -> None:
    async with echoing(tell_remaining) as neighbour:

        async def outer(text: str) -> str:
            return await neighbour.ask("unary_unary", text, timeout=60)

        async with echoing(outer) as client:
            remaining = float(await client.ask("unary_unary", "", timeout=3))

    assert 0 < remaining <= 3


@pytest.mark.usefixtures("deadline")
def test_a_call_of_nobody_gets_the_default() -> None:
    assert timeout_of(None) == DEFAULT_SECONDS
    assert timeout_of(70.0) == 70.0


@pytest.mark.usefixtures("deadline")
@pytest.mark.parametrize("left", [-5.0, 0.0, HOP_SECONDS, HOP_SECONDS + LEAST_SECONDS / 2])
def test_a_call_with_too_little_time_is_not_started(left: float) -> None:
    context.deadline.set(time.monotonic() + left)

    with pytest.raises(DeadlineExceeded):
        timeout_of(None)


async def test_a_caller_in_a_hurry_hears_that_time_ran_out() -> None:
    """The inner call is refused before it starts, and the caller learns why."""
    asked: list[str] = []

    async def inner(text: str) -> str:
        asked.append(text)
        return ""

    async with echoing(inner) as neighbour:

        async def outer(text: str) -> str:
            context.deadline.set(time.monotonic() + HOP_SECONDS)
            return await neighbour.ask("unary_unary", text)

        async with echoing(outer) as client:
            with pytest.raises(DeadlineExceeded), translated():
                await client.ask("unary_unary", "you")

    assert asked == []


@pytest.mark.parametrize("shape", ["unary_unary", "stream_unary", "unary_stream"])
async def test_a_stopped_service_is_unavailable(shape: str) -> None:
    async with plain_channel(f"127.0.0.1:{free_port()}") as channel:
        with pytest.raises(Unavailable) as caught, translated():
            await Client(channel).ask(shape, "you")

    assert "127.0.0.1" not in caught.value.message


async def test_a_service_that_comes_back_is_found_again() -> None:
    async def hello(text: str) -> str:
        return text

    async with echoing(hello) as client:
        assert await client.ask("unary_unary", "a") == "a"
        assert await client.ask("unary_unary", "b") == "b"


def saying(word: str) -> Callable[[str], Awaitable[str]]:
    """What a replica does that answers with its name."""

    async def act(_text: str) -> str:
        return word

    return act


class Dependency:
    """What a replica pings; broken on demand."""

    def __init__(self) -> None:
        self.broken = False

    async def ping(self) -> None:
        if self.broken:
            raise ConnectionError("gone")


class Replicas:
    """Servers in this process, each with a dependency of its own, that answer with their numbers."""

    def __init__(self) -> None:
        self.dependencies = [Dependency(), Dependency()]
        self.healths = [Health([SERVICE], [each.ping]) for each in self.dependencies]

    async def start(self, exits: AsyncExitStack) -> Client:
        """Serve; a client of both."""
        addresses = []
        for number, health in enumerate(self.healths):
            await health.start()
            server = serving(mount(saying(str(number))), health=health)
            addresses.append(await exits.enter_async_context(server))
            await health.check()
        return Client(await exits.enter_async_context(plain_channel(f"ipv4:{','.join(addresses)}")))

    async def change(self, number: int, *, broken: bool) -> None:
        """Break or mend what a replica depends on, and have it look."""
        self.dependencies[number].broken = broken
        await self.healths[number].check()


async def test_replicas_get_calls_in_turn_while_they_serve() -> None:
    """One that does not serve gets none; when none serves, those that can be reached get them all the same."""
    replicas = Replicas()
    async with AsyncExitStack() as exits:
        client = await replicas.start(exits)
        await eventually(only(client, "0", "1"))
        both = await answers(client, 20)
        await replicas.change(0, broken=True)
        await eventually(only(client, "1"))
        healthy = await answers(client, 20)
        await replicas.change(1, broken=True)
        await eventually(only(client, "0", "1"))
        none_serves = await answers(client, 20)
        await replicas.change(0, broken=False)
        await eventually(only(client, "0"))
        again = await answers(client, 20)

    assert both == {"0": 10, "1": 10}
    assert healthy == {"1": 20}
    assert none_serves == {"0": 10, "1": 10}
    assert again == {"0": 20}


class Peer(Echo):
    """Answers with the address and port from which its caller is connected."""

    async def unary_unary(self, _request: StringValue, call: Any) -> StringValue:
        return StringValue(value=call.peer())


async def test_channels_share_no_connection() -> None:
    """Where two do and one asks for health, gRPC can crash the process (channels.py)."""
    dependency = Dependency()
    health = Health([SERVICE], [dependency.ping])
    async with AsyncExitStack() as exits:
        address = await exits.enter_async_context(serving(mount(saying(""), Peer), health=health))
        clients = [Client(await exits.enter_async_context(plain_channel(f"ipv4:{address}"))) for _ in range(2)]
        peers = []
        for serves in (True, False):
            dependency.broken = not serves
            await health.check()
            for client in clients:
                await eventually(lambda client=client, serves=serves: client.channel.connection.serves is serves)
                peers.append(await client.ask("unary_unary", "who"))

    assert len(set(peers)) == 4


async def test_a_new_replica_gets_its_share_and_a_removed_one_none() -> None:
    """DNS changes; connections come of age, so that it is asked again. A stream goes on at its old connection."""
    port, released = free_port(), asyncio.Event()

    async def first(text: str) -> str:
        if text == "watch":
            await released.wait()
        return "first"

    records = {"echo.test": ["127.0.0.2"]}
    young = {"grpc.max_connection_age_ms": 1000}
    async with AsyncExitStack() as exits:
        for host, act in (("127.0.0.2", first), ("127.0.0.3", saying("second"))):
            health = Health([SERVICE], [])
            await health.check()
            address = f"{host}:{port}"
            await exits.enter_async_context(serving(mount(act), address=address, health=health, options=young))
        dns, resolver = await exits.enter_async_context(serving_dns(records))
        channel = await exits.enter_async_context(plain_channel(f"dns://{resolver}/echo.test:{port}"))
        client = Client(channel)
        before = await answers(client, 10)
        watch = client.start("unary_stream", "watch")
        await watch.read()
        records["echo.test"] = ["127.0.0.2", "127.0.0.3"]
        await eventually(only(client, "first", "second"))
        records["echo.test"] = ["127.0.0.3"]
        await eventually(only(client, "second"))
        released.set()
        last = await watch.read()

    assert before == {"first": 10}
    assert last.value == "first"
    assert dns.asked < 30  # not for every connection that ends


class Load:
    """Calls without a pause; who answered, and what failed."""

    def __init__(self, client: Client) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._client = client

    async def run(self) -> None:
        """Call until cancelled."""
        while True:
            try:
                self.answers[await self._client.ask("unary_unary", "who")] += 1
            except aio.AioRpcError as failure:
                self.failures.append(f"{failure.code().name}: {failure.details()}")

    async def more_of(self, process: Process) -> None:
        """Wait until a replica has answered some more calls."""
        wanted = self.answers[str(process.port)] + 20
        await eventually(lambda: self.answers[str(process.port)] >= wanted)


async def test_no_call_fails_while_replicas_are_restarted_one_after_the_other() -> None:
    with closing(Process(DRAIN_SECONDS="2")) as one, closing(Process(DRAIN_SECONDS="2")) as other:
        await asyncio.gather(listening(one.port), listening(other.port))
        async with plain_channel(target_of(one, other)) as channel:
            await eventually(only(Client(channel), str(one.port), str(other.port)))
            load = Load(Client(channel))
            running = [asyncio.create_task(load.run()) for _ in range(4)]
            codes = []
            for process in (one, other, one, other):
                process.signal(signal.SIGTERM)
                codes.append(await process.ended())
                process.start()
                await load.more_of(process)
            for task in running:
                task.cancel()

    assert load.failures == []
    assert codes == [0, 0, 0, 0]


async def test_a_replica_that_hangs_loses_its_calls_and_the_other_takes_the_next(tmp_path: Path) -> None:
    """As when a host is cut off: nothing closes the connection, only keepalive finds out."""
    with closing(Process()) as one, closing(Process()) as other:
        await asyncio.gather(listening(one.port), listening(other.port))
        async with plain_channel(target_of(one, other)) as channel:
            client = Client(channel)
            await eventually(only(client, str(one.port), str(other.port)))
            streams = [client.start("unary_stream", str(tmp_path / "never")) for _ in range(2)]
            for stream in streams:
                await stream.read()
            one.signal(signal.SIGSTOP)
            lost = await first_failure(streams)
            await eventually(only(client, str(other.port)))
            one.signal(signal.SIGCONT)
            await eventually(only(client, str(one.port), str(other.port)))
            for stream in streams:
                stream.cancel()

    assert lost.code().name == "UNAVAILABLE"


async def first_failure(streams: list[Any]) -> aio.AioRpcError:
    """The failure of the first stream that ends."""
    reading = {asyncio.create_task(stream.read()) for stream in streams}
    done, waiting = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    (failed,) = done
    failure = failed.exception()
    assert isinstance(failure, aio.AioRpcError)
    return failure


class Named(Echo):
    """Answers with the digest of its caller's certificate."""

    async def unary_unary(self, _request: StringValue, call: Any) -> StringValue:
        (certificate,) = call.auth_context()["x509_pem_cert"]
        return StringValue(value=sha256(certificate).hexdigest())


@asynccontextmanager
async def secured(tls: InternalTls | None, echo: Echo) -> AsyncIterator[str]:
    """A bare server with the certificate of a process, without the table of who may call what; its address."""
    assert tls
    server = aio.server()
    register(echo, server)
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials())
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_replaced_certificate_is_shown_by_the_next_calls_and_those_under_way_go_on(tmp_path: Path) -> None:
    authority, released = Authority.of(tmp_path), asyncio.Event()
    authority.issue("gateway")

    async def act(text: str) -> str:
        await released.wait()
        return text

    async with secured(internal_tls(authority.issue("share")), Named(act)) as address:
        settings = CommonSettings(_env_file=None, share_target=address, **authority.fields("gateway"))
        async with connect(settings, "share") as channel:
            client = Client(channel)
            first = await client.ask("unary_unary", "who")
            watch = client.start("unary_stream", "watch")
            await watch.read()
            authority.issue("gateway")

            async def replaced() -> bool:
                return await client.ask("unary_unary", "who") != first

            await eventually(replaced)
            held = channel.retiring
            released.set()
            last = await watch.read()
            await eventually(lambda: not channel.retiring)

            assert (held, last.value) == (1, "watch")
            assert await replaced()


async def test_a_service_is_known_by_its_certificate_and_not_by_its_address(tmp_path: Path) -> None:
    """Whoever answers at the address of share with another process's certificate gets no call."""
    authority = Authority.of(tmp_path)
    authority.issue("gateway")
    async with secured(internal_tls(authority.issue("storage")), Echo(saying("storage"))) as address:
        targets = {"share_target": address, "storage_target": address}
        settings = CommonSettings(_env_file=None, **targets, **authority.fields("gateway"))
        async with connect(settings, "share") as share, connect(settings, "storage") as storage:
            answer = await Client(storage).ask("unary_unary", "who")
            with pytest.raises(Unavailable), translated():
                await Client(share).ask("unary_unary", "who")

    assert answer == "storage"
