"""The public port with a certificate: HTTPS, HTTP/2, certificates that are replaced, plain HTTP that is redirected."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest

from deploy.envoy.render import render
from deploy.launcher import plan
from deploy.launcher.model import ConfigurationError
from deploy.launcher.plan import settle
from deploy.launcher.readiness import Public, ask
from deploy.launcher.settings import LauncherSettings
from tests.deploy.envoy.running import envoy, upstream
from tests.support.certificates import Authority
from tests.support.polling import eventually

SITE, OTHER = "site", "other"  # whose certificates they are, below the authority's domain
HOST = f"{SITE}.kawaii.internal"
PUBLIC, PLAIN = 10, 11  # offsets of ports
READERS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, END_HEADERS_AND_STREAM = 1, 4, 5


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that has signed the site's certificate."""
    made = Authority.of(tmp_path / "certificates")
    made.issue(SITE)
    return made


def fields(authority: Authority) -> dict[str, Path]:
    """The settings of the site's certificate."""
    return {"public_tls_cert": authority.folder / f"{SITE}.crt", "public_tls_key": authority.folder / f"{SITE}.key"}


@pytest.fixture
def settings(base: int, authority: Authority) -> LauncherSettings:
    return LauncherSettings(  # type: ignore[arg-type]
        bind_address=IPv4Address("127.0.0.1"),
        port=base + PUBLIC,
        public_http_port=base + PLAIN,
        internal_port_base=base,
        **fields(authority),
    )


@pytest.fixture
async def edge(settings: LauncherSettings, base: int, tmp_path: Path) -> AsyncIterator[None]:
    """A real Envoy with a gateway behind it."""
    async with upstream("a", base), envoy(settings, tmp_path):
        yield


@asynccontextmanager
async def newcomer(settings: LauncherSettings, authority: Authority) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a connection, which trusts the authority alone."""
    context = ssl.create_default_context(cafile=authority.folder / "ca.crt")
    url = f"https://127.0.0.1:{settings.port}"
    async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False, timeout=30.0) as client:
        yield client


async def read(settings: LauncherSettings, authority: Authority) -> tuple[int, int]:
    """GET of the site by a new connection: the status, and the serial number of the certificate."""
    async with (
        newcomer(settings, authority) as client,
        client.stream("GET", "/", extensions={"sni_hostname": HOST}) as got,
    ):
        certificate = got.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()
        return got.status_code, int(certificate["serialNumber"], 16)


@pytest.mark.usefixtures("edge")
async def test_the_site_is_served_by_https(settings: LauncherSettings, authority: Authority) -> None:
    async with newcomer(settings, authority) as client:
        answer = await client.get("/api/x", extensions={"sni_hostname": HOST})

    assert answer.json()["name"] == "a"


@pytest.mark.usefixtures("edge")
async def test_browsers_get_http_2_and_nobody_less_than_tls_1_2(
    settings: LauncherSettings, authority: Authority
) -> None:
    context = ssl.create_default_context(cafile=authority.folder / "ca.crt")
    context.set_alpn_protocols(["h2", "http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.port, ssl=context, server_hostname=HOST)
    chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    # GET / of the static table of HPACK, and the authority as a literal.
    block = bytes([0x82, 0x87, 0x84, 0x41, len(HOST)]) + HOST.encode()
    writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS_AND_STREAM, 1, block))
    async with asyncio.timeout(30):
        while (kind := (await frame_of(reader)))[0] != HEADERS:
            continue
    writer.close()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", settings.port, ssl=old)

    assert chosen == "h2"
    assert kind[1][0] == 0x88  # `:status: 200` of the static table


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


async def frame_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The kind and the payload of the next frame."""
    head = await reader.readexactly(9)
    return head[3], await reader.readexactly(int.from_bytes(head[:3]))


@pytest.mark.usefixtures("edge")
async def test_a_certificate_that_is_replaced_is_shown_without_a_restart_or_a_failure(
    settings: LauncherSettings, authority: Authority
) -> None:
    _, former = await read(settings, authority)
    statuses: list[int] = []
    done = asyncio.Event()

    async def keep_reading() -> None:
        while not done.is_set():
            statuses.append((await read(settings, authority))[0])

    async with asyncio.TaskGroup() as group:
        for _ in range(READERS):
            group.create_task(keep_reading())
        for _ in range(3):
            authority.issue(SITE)

            async def replaced() -> bool:
                return (await read(settings, authority))[1] != former  # noqa: B023 - called within the turn

            await eventually(replaced)
            _, former = await read(settings, authority)
        done.set()

    assert set(statuses) == {200}


@pytest.mark.usefixtures("edge")
@pytest.mark.parametrize("offset", [PUBLIC, PLAIN])
async def test_plain_http_is_sent_to_https_with_its_method(settings: LauncherSettings, base: int, offset: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{base + offset}/api/share?a=1", json={})

    assert (answer.status_code, answer.headers["location"]) == (308, f"https://127.0.0.1:{settings.port}/api/share?a=1")


@pytest.mark.parametrize("app_url", ["https://site.example", "https://site.example:8443"])
async def test_the_redirect_leads_to_the_port_of_the_public_address(
    settings: LauncherSettings, tmp_path: Path, app_url: str
) -> None:
    """Which another program may pass on to ours."""
    settings = settings.model_copy(update={"app_url": app_url})
    async with envoy(settings, tmp_path), httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            f"http://127.0.0.1:{settings.public_http_port}/a", headers={"host": "site.example:80"}
        )

    assert answer.headers["location"].replace(":443/", "/") == f"{app_url}/a"


@pytest.mark.usefixtures("edge")
async def test_the_launcher_asks_the_public_port_by_https(settings: LauncherSettings) -> None:
    plain, public = (Public("127.0.0.1", settings.port, tls) for tls in (False, True))

    assert [(await ask(each))[0] for each in (plain, public)] == [308, 200]


def test_hsts_is_for_sites_and_not_for_names_of_this_machine(settings: LauncherSettings) -> None:
    site = settings.model_copy(update={"app_url": "https://site.example"})

    assert "strict-transport-security" not in render(settings)
    assert "strict-transport-security" in render(site)


def test_without_an_app_url_the_site_is_this_machine_by_https(settings: LauncherSettings) -> None:
    assert settings.overrides()["APP_URL"] == settings.origin == f"https://localhost:{settings.port}"


@pytest.fixture
def variables(authority: Authority, monkeypatch: pytest.MonkeyPatch, base: int) -> Authority:
    """The environment names the site's certificate."""
    for name, path in fields(authority).items():
        monkeypatch.setenv(name.upper(), str(path))
    monkeypatch.setenv("INTERNAL_PORT_BASE", str(base))
    return authority


@pytest.mark.usefixtures("variables")
def test_the_plan_has_the_files_of_the_certificate_and_asks_by_https() -> None:
    made = plan.make(settle())

    assert {Path(file).name for file in made.files} >= {"envoy.yaml", "public-certificate.json"}
    assert made.probe_tls
    assert made.origin == "https://localhost:8080"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"PUBLIC_TLS_KEY": ""}, "PUBLIC_TLS_KEY must be set too"),
        ({"PUBLIC_TLS_CERT": ""}, "PUBLIC_TLS_CERT must be set too"),
        ({"PUBLIC_TLS_CERT": "nowhere.crt"}, "PUBLIC_TLS_CERT cannot be read"),
        ({"PUBLIC_TLS_KEY": "nowhere.key"}, "PUBLIC_TLS_KEY cannot be read"),
        ({"PUBLIC_TLS_KEY": OTHER}, "PUBLIC_TLS_KEY is not the key of the certificate in PUBLIC_TLS_CERT"),
        ({"APP_URL": "http://site.example"}, "APP_URL begins with http://"),
        ({"PUBLIC_HTTP_PORT": "8080"}, "PUBLIC_HTTP_PORT and PORT are the same"),
        ({"PUBLIC_HTTP_PORT": "0"}, "PUBLIC_HTTP_PORT"),
        ({"PUBLIC_TLS_CERT": "", "PUBLIC_TLS_KEY": "", "PUBLIC_HTTP_PORT": "80"}, "PUBLIC_HTTP_PORT sends visitors"),
    ],
    ids=str,
)
def test_what_cannot_be_served_by_https_is_refused_with_a_sentence(
    variables: Authority, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], sentence: str
) -> None:
    variables.issue(OTHER)
    for name, value in names.items():
        monkeypatch.setenv(name, str(variables.folder / f"{OTHER}.key") if value == OTHER else value)

    with pytest.raises(ConfigurationError, match=sentence):
        settle()


def test_a_key_that_others_can_read_and_an_expired_certificate_are_refused(variables: Authority) -> None:
    (variables.folder / f"{SITE}.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="PUBLIC_TLS_KEY can be read or written by others"):
        settle()

    variables.issue(SITE, days=-0.001)
    with pytest.raises(ConfigurationError, match="PUBLIC_TLS_CERT has expired"):
        settle()
