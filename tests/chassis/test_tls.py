"""Mutual TLS between processes: what is refused at the start, at the handshake, and that files are read again."""

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import structlog
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from grpc import aio
from prometheus_client import REGISTRY
from pydantic import ValidationError

from services.chassis import tls
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings
from services.chassis.tls import InternalTls, dns_name, internal_tls, require_tls
from tests.support.certificates import Authority

HANDLER = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
METHOD = "/test.Echo/Echo"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.of(tmp_path / "certs")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority.of(tmp_path / "other")


def made(settings: CommonSettings) -> InternalTls:
    found = internal_tls(settings)
    assert found
    return found


@asynccontextmanager
async def server(of: InternalTls) -> AsyncIterator[str]:
    """A gRPC server with these credentials; its address."""
    serving = aio.server()
    handler = grpc.method_handlers_generic_handler("test.Echo", {"Echo": HANDLER})
    serving.add_generic_rpc_handlers((handler,))
    port = serving.add_secure_port("127.0.0.1:0", of.server_credentials())
    await serving.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await serving.stop(None)


async def asked(address: str, credentials: grpc.ChannelCredentials | None, name: str = "storage") -> grpc.StatusCode:
    """The code that a call gets on a channel of its own."""
    options = (("grpc.ssl_target_name_override", dns_name(name)), ("grpc.use_local_subchannel_pool", 1))
    channel = (
        aio.secure_channel(address, credentials, options) if credentials else aio.insecure_channel(address, options)
    )
    async with channel:
        try:
            await channel.unary_unary(METHOD)(b"", timeout=10)
        except aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def test_without_the_settings_there_is_no_tls() -> None:
    assert internal_tls(CommonSettings(_env_file=None)) is None


@pytest.mark.parametrize("missing", ["internal_tls_cert", "internal_tls_key", "internal_tls_ca"])
def test_half_given_settings_are_refused_by_the_name_of_what_is_missing(authority: Authority, missing: str) -> None:
    authority.issue("storage")
    fields = {name: path for name, path in authority.fields("storage").items() if name != missing}

    with pytest.raises(ValidationError, match=missing.upper()):
        CommonSettings(_env_file=None, **fields)


def locked(authority: Authority) -> None:
    key, lock = ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"secret")
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    (authority.folder / "storage.key").write_bytes(content)


def another_key(authority: Authority) -> None:
    authority.issue("share")
    shutil.copy(authority.folder / "share.key", authority.folder / "storage.key")


def another_authority(authority: Authority) -> None:
    stranger = Authority.of(authority.folder / "stranger")
    shutil.copy(stranger.folder / "ca.crt", authority.folder / "ca.crt")


def expired(authority: Authority) -> None:
    authority.issue("storage", days=-1 / 1440)


def removed(name: str) -> Callable[[Authority], None]:
    return lambda authority: (authority.folder / name).unlink()


def filled(name: str, content: bytes) -> Callable[[Authority], None]:
    def fill(authority: Authority) -> None:
        (authority.folder / name).write_bytes(content)

    return fill


def opened(mode: int) -> Callable[[Authority], None]:
    return lambda authority: (authority.folder / "storage.key").chmod(mode)


REFUSALS = {
    "certificate missing": (removed("storage.crt"), "INTERNAL_TLS_CERT cannot be read"),
    "key missing": (removed("storage.key"), "INTERNAL_TLS_KEY cannot be read"),
    "authority missing": (removed("ca.crt"), "INTERNAL_TLS_CA cannot be read"),
    "certificate not PEM": (filled("storage.crt", b"\x30\x82 der"), "INTERNAL_TLS_CERT must name a file"),
    "key not PEM": (filled("storage.key", b"key"), "INTERNAL_TLS_KEY must name a file"),
    "authority not PEM": (filled("ca.crt", b""), "INTERNAL_TLS_CA must name a file"),
    "certificate too large": (filled("storage.crt", b"x" * (1024 * 1024 + 1)), "INTERNAL_TLS_CERT is no PEM file"),
    "key locked": (locked, "INTERNAL_TLS_KEY is locked with a password"),
    "key of another": (another_key, "INTERNAL_TLS_KEY is not the key of the certificate in INTERNAL_TLS_CERT"),
    "key that the group reads": (opened(0o640), "INTERNAL_TLS_KEY can be read or written by others"),
    "key that all read": (opened(0o604), "INTERNAL_TLS_KEY can be read or written by others"),
    "signed by another authority": (another_authority, "INTERNAL_TLS_CERT was not signed by an authority in"),
    "expired": (expired, "INTERNAL_TLS_CERT has expired"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_files_that_cannot_work_are_refused_with_a_sentence(
    authority: Authority, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    spoil, sentence = REFUSALS[case]
    settings = authority.issue("storage")
    spoil(authority)

    with pytest.raises(SystemExit) as refused:
        internal_tls(settings)

    assert refused.value.code == EXIT_CONFIGURATION
    assert sentence in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_key_of_another_user_is_refused(authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    settings = authority.issue("storage")
    os.chown(authority.folder / "storage.key", 12345, 12345)

    with pytest.raises(SystemExit):
        internal_tls(settings)

    assert "INTERNAL_TLS_KEY belongs to another user" in capsys.readouterr().err


def test_the_certificate_of_another_process_is_refused(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = authority.issue("storage")

    assert internal_tls(settings, "storage")
    with pytest.raises(SystemExit):
        internal_tls(settings, "share")

    assert "it names storage.kawaii.internal, not share.kawaii.internal" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert require_tls(CommonSettings(_env_file=None, listen_host=host), "storage") is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_other_machines_need_tls_or_an_explicit_word(
    authority: Authority, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        require_tls(CommonSettings(_env_file=None, listen_host=host), "storage")
    with structlog.testing.capture_logs() as logged:
        require_tls(CommonSettings(_env_file=None, listen_host=host, internal_insecure=True), "storage")
    with structlog.testing.capture_logs() as silent:
        require_tls(authority.issue("storage").model_copy(update={"listen_host": host}), "storage")

    assert refused.value.code == EXIT_CONFIGURATION
    assert f"LISTEN_HOST={host}" in capsys.readouterr().err
    assert [(line["event"], line["log_level"], line["listen_host"]) for line in logged] == [
        ("internal_insecure", "warning", host)
    ]
    assert silent == []


async def test_only_peers_with_a_valid_certificate_of_the_authority_are_served(
    authority: Authority, other: Authority
) -> None:
    storage, gateway = made(authority.issue("storage")), made(authority.issue("gateway"))
    stranger = made(other.issue("gateway")).current()
    late = InternalTls(*authority.fields("gateway").values())
    authority.issue("share", days=-1 / 1440)
    expired_certificate, expired_key = ((authority.folder / f"share.{end}").read_bytes() for end in ("crt", "key"))
    root = late.current().authority

    async with server(storage) as address:
        welcome = await asked(address, gateway.channel_credentials())
        refused = [
            await asked(address, credentials)
            for credentials in (
                None,
                grpc.ssl_channel_credentials(root),
                grpc.ssl_channel_credentials(root, stranger.key, stranger.certificate),
                grpc.ssl_channel_credentials(root, expired_key, expired_certificate),
            )
        ]

    assert welcome is grpc.StatusCode.OK
    assert refused == [grpc.StatusCode.UNAVAILABLE] * 4


async def test_a_client_refuses_a_server_that_is_another_process(authority: Authority) -> None:
    storage, gateway = made(authority.issue("storage")), made(authority.issue("gateway"))

    async with server(storage) as address:
        assert await asked(address, gateway.channel_credentials(), "storage") is grpc.StatusCode.OK
        assert await asked(address, gateway.channel_credentials(), "share") is grpc.StatusCode.UNAVAILABLE


async def test_a_server_takes_replaced_files_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    """All three are replaced by those of a new authority; who still has the old one is a stranger then."""
    storage, old = made(authority.issue("storage")), made(authority.issue("gateway")).channel_credentials()
    new = Authority.of(tmp_path / "new")
    newcomer = made(new.issue("gateway")).channel_credentials()

    async with server(storage) as address:
        before = [await asked(address, each) for each in (old, newcomer)]
        new.issue("storage")
        for name in ("ca.crt", "storage.key", "storage.crt"):
            (new.folder / name).replace(authority.folder / name)
        after = [await asked(address, each) for each in (old, newcomer)]

    assert before == [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE]
    assert after == [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK]


async def test_certificates_replaced_under_load_cost_no_connection(authority: Authority) -> None:
    """Each call has a connection of its own, and a client's certificate of its own time; both ends change."""
    storage, gateway = made(authority.issue("storage")), made(authority.issue("gateway"))
    stopped = asyncio.Event()
    got: list[grpc.StatusCode] = []

    async def load(address: str) -> None:
        while not stopped.is_set():
            got.append(await asked(address, gateway.channel_credentials()))

    async with server(storage) as address:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(load(address))
            for _ in range(20):
                before = len(got)
                await asyncio.to_thread(authority.issue, "storage")
                await asyncio.to_thread(authority.issue, "gateway")
                while len(got) < before + 4:  # noqa: ASYNC110 - some calls with each pair
                    await asyncio.sleep(0)
            stopped.set()
        served = storage.version

    assert set(got) == {grpc.StatusCode.OK}
    assert served >= 10


async def test_a_pair_that_is_not_whole_is_not_taken(authority: Authority) -> None:
    """A certificate without its key stays out; with its key it is taken."""
    storage, gateway = made(authority.issue("storage")), made(authority.issue("gateway")).channel_credentials()
    key = (authority.folder / "storage.key").read_bytes()
    first = storage.current()

    async with server(storage) as address:
        authority.issue("storage")
        new_key = (authority.folder / "storage.key").read_bytes()
        (authority.folder / "storage.key").write_bytes(key)
        with structlog.testing.capture_logs() as logged:
            during = await asked(address, gateway), await asked(address, gateway)
            kept = storage.current()
        (authority.folder / "storage.key").write_bytes(new_key)
        after = await asked(address, gateway)

    assert during == (grpc.StatusCode.OK, grpc.StatusCode.OK)
    assert after is grpc.StatusCode.OK
    assert kept == first
    assert storage.current().key == new_key
    assert [line["event"] for line in logged] == ["certificate_not_taken"]
    assert "INTERNAL_TLS_KEY is not the key" in logged[0]["why"]


async def test_watchers_hear_of_each_replacement(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "POLL_SECONDS", 0.01)
    storage = made(authority.issue("storage"))
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen() -> None:
        async for _ in storage.watch():
            heard.put_nowait(storage.current().certificate)

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)  # it has noted what is there
    for _ in range(2):
        authority.issue("storage")
        assert await heard.get() == (authority.folder / "storage.crt").read_bytes()
    listening.cancel()

    assert heard.empty()


def test_the_expiry_of_the_own_certificate_is_a_metric(authority: Authority) -> None:
    storage = made(authority.issue("storage"))
    first = REGISTRY.get_sample_value("certificate_expiration_timestamp_seconds", {"setting": "INTERNAL_TLS_CERT"})
    authority.issue("storage", days=30)
    end = storage.current().not_after.timestamp()

    assert first is not None
    assert end > first
    assert end == REGISTRY.get_sample_value(
        "certificate_expiration_timestamp_seconds", {"setting": "INTERNAL_TLS_CERT"}
    )


class Hello(asyncio.Protocol):
    """Says hello to whoever is connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined] # of uvloop it is no asyncio.WriteTransport


async def greeted(port: int, client: InternalTls | None, authority: Authority) -> bytes:
    """What a client of a listener reads before the connection ends; nothing when it is closed."""
    context: ssl.SSLContext | None = None
    if client:
        context = ssl.create_default_context(cafile=str(authority.folder / "ca.crt"))
        client.load_into(context)
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=dns_name("gateway") if context else None
        )
        if not client:
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
        try:
            return await reader.read(5)
        finally:
            writer.transport.abort()
    except (ssl.SSLError, ConnectionError):
        return b""


def refused_count(reason: str) -> float:
    return REGISTRY.get_sample_value("tls_connections_refused_total", {"listener": "test", "reason": reason}) or 0


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_listener_closes_every_connection_but_those_of_one_process(
    authority: Authority, other: Authority, run: Callable[..., None]
) -> None:
    """Peers of the authority that are another process, strangers and plaintext are closed, counted, and told apart."""
    gateway = made(authority.issue("gateway"))
    envoy, share, stranger = (
        made(each.issue(name)) for each, name in ((authority, "envoy"), (authority, "share"), (other, "envoy"))
    )
    before = refused_count("name"), refused_count("handshake")

    async def act() -> None:
        context = gateway.server_context("test", "envoy")
        serving = await asyncio.get_running_loop().create_server(Hello, "127.0.0.1", 0, ssl=context)
        port = serving.sockets[0].getsockname()[1]
        assert await greeted(port, envoy, authority) == b"hello"
        for client in (share, stranger, None):
            assert await greeted(port, client, authority) == b""
        authority.issue("gateway")
        assert await greeted(port, envoy, authority) == b"hello"
        serving.close()

    run(act())

    assert refused_count("name") - before[0] == 1
    assert refused_count("handshake") - before[1] == 2


def test_a_listener_forgets_an_authority_that_was_replaced(authority: Authority, other: Authority) -> None:
    gateway, envoy = made(authority.issue("gateway")), made(authority.issue("envoy"))
    newcomer = made(other.issue("envoy"))

    async def act() -> None:
        context = gateway.server_context("test", "envoy")
        serving = await asyncio.get_running_loop().create_server(Hello, "127.0.0.1", 0, ssl=context)
        port = serving.sockets[0].getsockname()[1]
        assert await greeted(port, envoy, authority) == b"hello"
        old = (authority.folder / "ca.crt").read_bytes()
        other.issue("gateway")
        for name in ("gateway.key", "gateway.crt", "ca.crt"):
            shutil.copy(other.folder / name, authority.folder / name)
        (authority.folder / "gateway.key").chmod(0o600)
        assert await greeted(port, newcomer, other) == b"hello"
        (authority.folder / "ca.crt").write_bytes(old + (other.folder / "ca.crt").read_bytes())
        assert await greeted(port, envoy, other) == b"hello"
        serving.close()

    asyncio.run(act())
