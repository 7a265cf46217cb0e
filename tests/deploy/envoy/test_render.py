"""The front door as rendered: Envoy accepts it, and behaves towards real upstreams as the site needs."""

import asyncio
import json
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from deploy.envoy.render import ADMIN_SOCKET, files, render
from deploy.launcher.processes import envoy_binary
from deploy.launcher.settings import LauncherSettings
from services.chassis.addresses import ListenPort, port_of
from tests.support.certificates import Authority
from tests.support.polling import eventually

TOKEN = "att-0123456789-secret"
DEADLINE = "x-envoy-expected-rq-timeout-ms"
PATIENT, HASTY = 15.0, 0.3
LATE = 2 * HASTY
BURST = 300
SMALL, LARGE, CHUNKED = "content-length: 32768", "content-length: 32769", "transfer-encoding: chunked"
LONG = (
    "/api/poll-task",
    "/v1/generations/gen_1:watch",
    "/api/upload-image",
    "/api/download-and-upload",
    "/api/img",
    "/api/images/gen_1",
)

ODD = {
    "the defaults": LauncherSettings(),
    "one machine": LauncherSettings(bind_address=IPv4Address("127.0.0.1"), port=1, internal_port_base=65_000),
    "IPv6 behind proxies": LauncherSettings(bind_address=IPv6Address("::"), trusted_hops=2, envoy_concurrency=4),
    "debug in text": LauncherSettings(log_level="debug", log_format="text", edge_timeout_seconds=0.001),
    "debug in JSON": LauncherSettings(log_level="debug", log_format="json", edge_timeout_seconds=600),
    "a list of origins": LauncherSettings(cors_allowed_origins=("https://a.b-c.example", "http://localhost:3000")),
}
LISTED, OTHER = "https://our.site", "http://localhost:3000"
ALLOWED = ("access-control-allow-origin", "access-control-allow-credentials", "vary")


UPSTREAMS = {
    "names": {"gateway_upstream": "localhost:50050", "files_upstream": "localhost:50055"},
    "a list": {"gateway_upstream": "127.0.0.1:1,127.0.0.1:2,[::1]:3", "files_upstream": "10.0.0.1:1"},
    "a mixed list": {"gateway_upstream": "127.0.0.1:1,[::1]:3,localhost:4"},
}


@pytest.mark.parametrize("tls", ["no TLS", "TLS inside", "HTTPS", "TLS everywhere"])
@pytest.mark.parametrize("upstreams", [{}, *UPSTREAMS.values()], ids=["loopback", *UPSTREAMS])
def test_envoy_accepts_all_upstreams_with_and_without_tls(upstreams: dict[str, str], tls: str, tmp_path: Path) -> None:
    authority = Authority.of(tmp_path)
    authority.issue("envoy")
    certificate, key = tmp_path / "envoy.crt", tmp_path / "envoy.key"
    inside = authority.fields("envoy") if tls in {"TLS inside", "TLS everywhere"} else {}
    https = {"public_tls_cert": certificate, "public_tls_key": key} if tls in {"HTTPS", "TLS everywhere"} else {}
    settings = LauncherSettings(**upstreams, **inside, **https)  # type: ignore[arg-type]
    for name, text in files(settings).items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    command = [envoy_binary(), "--mode", "validate", "-c", "envoy.yaml"]
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr.decode()
    assert b"deprecated" not in done.stderr.lower()


@pytest.mark.parametrize("settings", ODD.values(), ids=ODD.keys())
def test_envoy_accepts_what_is_rendered(settings: LauncherSettings, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(render(settings), encoding="utf-8")

    done = subprocess.run([envoy_binary(), "--mode", "validate", "-c", str(file)], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def edge_timeout() -> float:
    return PATIENT


@pytest.fixture
def origins() -> tuple[str, ...]:
    return ("*",)


@pytest.fixture
def trusted_hops() -> int:
    return 0


@pytest.fixture
def app_url() -> str:
    return ""


@pytest.fixture
def settings(
    base: int, edge_timeout: float, origins: tuple[str, ...], trusted_hops: int, app_url: str
) -> LauncherSettings:
    return LauncherSettings(
        app_url=app_url,
        cors_allowed_origins=origins,
        trusted_hops=trusted_hops,
        bind_address=IPv4Address("127.0.0.1"),
        port=base + 10,
        internal_port_base=base,
        edge_timeout_seconds=edge_timeout,
        log_level="debug",
        log_format="json",
    )


@pytest.fixture
async def edge(settings: LauncherSettings, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A real Envoy, and a client of it."""
    file = tmp_path / "envoy.yaml"
    file.write_text(render(settings), encoding="utf-8")
    command = (
        envoy_binary(),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warn",
    )
    with (tmp_path / "envoy.log").open("wb") as log:
        envoy = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            await eventually(lambda: _listens(settings))
            url, limits = f"http://127.0.0.1:{settings.port}", httpx.Limits(max_connections=BURST)
            async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits) as client:
                yield client
        finally:
            envoy.kill()
            await envoy.wait()


def _listens(settings: LauncherSettings) -> bool:
    try:
        socket.create_connection(("127.0.0.1", settings.port)).close()
    except OSError:
        return False
    return True


async def echo(request: web.Request) -> web.Response:
    """Answer with what arrived."""
    seen = {"path": request.path_qs, "headers": {k.lower(): v for k, v in request.headers.items()}}
    return web.json_response({"method": request.method, **seen, "size": len(await request.read())})


async def slow(_: web.Request) -> web.Response:
    """Answer later than a hasty edge waits for plain requests."""
    await asyncio.sleep(LATE)
    return web.Response(text="late")


async def _serve(port: int, name: str) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/slow", slow)
    for path in LONG:
        app.router.add_route("*", path, slow)
    app.router.add_route("*", "/{path:.*}", echo)
    app.on_response_prepare.append(_named(name))
    runner = web.AppRunner(app, max_field_size=65_536, max_line_size=65_536)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


def _named(name: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def sign(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["upstream"] = name

    return sign


@pytest.fixture
async def upstreams(settings: LauncherSettings) -> AsyncIterator[None]:
    """Stand-ins for the gateway and for the storage service's file listener."""
    residents = (ListenPort.GATEWAY, ListenPort.FILES)
    ports = {listener.name.lower(): port_of(listener, settings.internal_port_base) for listener in residents}
    runners = [await _serve(port, name) for name, port in ports.items()]
    yield
    for runner in runners:
        await runner.cleanup()


async def test_a_dead_upstream_is_a_json_503_that_says_when_to_return(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/api/share/list", headers={"origin": "https://site.example"})

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["access-control-allow-origin"] == "*"
    sentence = "The server is starting, restarting or busy; try again in a second."
    assert answer.json() == {"success": False, "error": sentence, "code": "UNAVAILABLE", "message": sentence}


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize("edge_timeout", [HASTY])
async def test_a_slow_upstream_is_a_json_504(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/slow")

    assert answer.status_code == 504
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == "DEADLINE_EXCEEDED"
    assert answer.json()["success"] is False
    assert "retry-after" not in answer.headers


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize("edge_timeout", [HASTY])
@pytest.mark.parametrize(
    "path",
    LONG,
)
async def test_streams_and_transfers_may_take_longer(edge: httpx.AsyncClient, path: str) -> None:
    assert (await edge.get(path)).text == "late"


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize(
    ("path", "upstream"),
    [("/files/uploads/a.png", "files"), ("/", "gateway"), ("/filesystem", "gateway"), ("/api/callback/x", "gateway")],
)
async def test_each_path_has_its_upstream(edge: httpx.AsyncClient, path: str, upstream: str) -> None:
    assert (await edge.get(path)).headers["upstream"] == upstream


@pytest.mark.usefixtures("upstreams")
async def test_a_burst_waits_for_its_turn(edge: httpx.AsyncClient) -> None:
    """More uploads at once than may be under way, to an upstream that answers none of them at once."""
    sent = [edge.post("/api/upload-image", content=b"x", timeout=60.0) for _ in range(BURST)]
    answers = await asyncio.gather(*sent)

    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.usefixtures("upstreams")
async def test_nobody_outside_may_say_who_the_user_is(edge: httpx.AsyncClient) -> None:
    forged = {"x-user-id": "user_1", "X-User-Email": "a@b.example", "x-users": "kept"}
    seen = (await edge.get("/api/x", headers=forged)).json()["headers"]

    assert [name for name in seen if name.startswith("x-user")] == ["x-users"]


@pytest.mark.usefixtures("upstreams")
async def test_a_header_with_an_underscore_is_refused(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/api/x", headers={"x_user_id": "user_1"})

    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_INPUT"


@pytest.mark.usefixtures("upstreams")
async def test_a_request_id_goes_in_and_comes_back(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/api/x", headers={"x-request-id": "req-from-the-client"})

    assert answer.headers["x-request-id"] == "req-from-the-client"
    assert answer.json()["headers"]["x-request-id"] == "req-from-the-client"


@pytest.mark.usefixtures("upstreams")
async def test_a_request_without_an_id_is_given_one(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/api/x")

    assert len(answer.headers["x-request-id"]) == 36
    assert answer.json()["headers"]["x-request-id"] == answer.headers["x-request-id"]


async def test_an_answer_that_envoy_makes_has_a_request_id_too(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/api/x", headers={"x-request-id": "req-from-the-client"})

    assert answer.status_code == 503
    assert answer.headers["x-request-id"] == "req-from-the-client"


@pytest.mark.usefixtures("upstreams")
async def test_the_client_is_the_peer_unless_proxies_are_trusted(edge: httpx.AsyncClient) -> None:
    seen = (await edge.get("/api/x", headers={"x-forwarded-for": "203.0.113.9"})).json()["headers"]

    assert seen["x-forwarded-for"].startswith("203.0.113.9,")
    assert seen["x-forwarded-for"].split(",")[-1] != "203.0.113.9"


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize(
    ("trusted_hops", "forwarded", "client"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 192.0.2.1", "203.0.113.9"),
        (1, "2001:db8::7", "2001:db8::7"),
        (1, "", "127.0.0.1"),
    ],
)
async def test_the_gateway_is_told_the_client_by_the_hops_we_trust(
    edge: httpx.AsyncClient, forwarded: str, client: str
) -> None:
    forged = {"x-kawaii-client": "198.51.100.99", **({"x-forwarded-for": forwarded} if forwarded else {})}
    seen = (await edge.get("/api/x", headers=forged)).json()["headers"]

    assert seen["x-kawaii-client"] == client


@pytest.mark.parametrize("origins", [(LISTED, OTHER)])
@pytest.mark.parametrize("origin", [LISTED, OTHER])
async def test_its_own_answers_echo_a_listed_origin_with_credentials(edge: httpx.AsyncClient, origin: str) -> None:
    answer = await edge.get("/api/x", headers={"origin": origin})

    assert answer.status_code == 503
    assert [answer.headers.get(name) for name in ALLOWED] == [origin, "true", "Origin"]


@pytest.mark.parametrize("origins", [(LISTED, OTHER)])
@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://our.site.evil",
        "https://ourxsite",
        "https://our.site:444",
        "https://OUR.site",
        "http://our.site",
        "https://our.site|http://localhost:3000",
        "http://localhost",
    ],
)
async def test_its_own_answers_let_no_other_origin_read(edge: httpx.AsyncClient, origin: str) -> None:
    answer = await edge.get("/api/x", headers={"origin": origin} if origin else {})

    assert answer.status_code == 503
    assert [answer.headers.get(name) for name in ALLOWED] == [None, None, "Origin"]


async def test_its_own_answers_carry_the_security_headers(edge: httpx.AsyncClient) -> None:
    headers = (await edge.get("/api/x")).headers

    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "strict-transport-security" not in headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("app_url", ["https://site.example"])
async def test_its_own_answers_say_that_a_site_is_only_there_by_https(edge: httpx.AsyncClient) -> None:
    assert (await edge.get("/api/x")).headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.usefixtures("upstreams")
async def test_a_webhook_that_grows_beyond_its_bound_is_refused_in_json(edge: httpx.AsyncClient) -> None:
    path, size = "/api/callback/image-generated", 65_537

    async def chunks(number: int) -> AsyncIterator[bytes]:
        for start in range(0, number, 16_384):
            yield b"x" * min(16_384, number - start)

    fits, refused = [await edge.post(path, content=chunks(number)) for number in (size - 1, size)]

    assert (fits.status_code, fits.json()["size"]) == (200, size - 1)
    assert (refused.status_code, refused.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize("path", ["/files/uploads/a.png", "/api/share/latest"])
async def test_long_headers_are_refused_in_json(edge: httpx.AsyncClient, path: str) -> None:
    let_through, refused = [await edge.get(path, headers={"cookie": "a" * size}) for size in (50_000, 62_000)]

    assert (let_through.status_code, refused.status_code) == (200, 431)
    assert refused.json()["code"] == "HEADERS_TOO_LARGE"


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize(
    ("path", "length", "upstream"),
    [
        ("/api/share", SMALL, "nobody"),
        ("/api/generate-image", SMALL, "nobody"),
        ("/api/artworks/save-draft", SMALL, "nobody"),
        ("/api/callback/x", SMALL, "nobody"),
        ("/api/upload-image", SMALL, "uploads"),
        ("/api/share", LARGE, "uploads"),
        ("/api/generate-image", LARGE, "uploads"),
        ("/api/share", CHUNKED, "uploads"),
    ],
)
async def test_only_small_bodies_wait_until_they_are_whole(
    settings: LauncherSettings, edge: httpx.AsyncClient, tmp_path: Path, path: str, length: str, upstream: str
) -> None:
    """Larger ones, gathered, would fill Envoy's memory. What streams counts among the uploads."""
    del edge
    _, writer = await asyncio.open_connection("127.0.0.1", settings.port)
    writer.write(f"POST {path} HTTP/1.1\r\nhost: h\r\n{length}\r\n\r\n5\r\nhello\r\n".encode())
    transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / ADMIN_SOCKET))
    async with httpx.AsyncClient(base_url="http://admin", transport=transport) as admin:

        async def counted(name: str) -> int:
            stats = await admin.get("/stats", params={"filter": f"^{name}$"})
            return int(stats.text.split()[-1])

        seen: list[int] = []
        while not seen or not seen[-1]:
            seen.append(await counted("http.edge.downstream_rq_active"))
        names = ("gateway", "callbacks", "uploads", "watches")
        active = {name for name in names if await counted(f"cluster.{name}.upstream_rq_total")}
    writer.close()

    assert active == {upstream} - {"nobody"}


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize("path", ["/api/img", "/api/export", "/api/poll-task"])
async def test_what_takes_no_large_body_gathers_none(edge: httpx.AsyncClient, path: str) -> None:
    assert (await edge.post(path, content=b"x" * 40_000)).status_code == 413


@pytest.mark.usefixtures("upstreams", "edge")
async def test_paths_are_normalised_but_double_slashes_stay(settings: LauncherSettings) -> None:
    raw = "GET /files/../api//x?a=%2F HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"

    assert b'"path": "/api//x?a=%2F"' in await _raw(settings.port, raw)


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize("path", ["/api%2Fupload-image", "/files/..%2fapi/x", "/api/share%5Clist"])
async def test_a_hidden_slash_leads_past_no_route(edge: httpx.AsyncClient, path: str) -> None:
    """To those behind the edge it is a slash, so the two would see different paths."""
    answer = await edge.get(path)

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize("path", ["/api/generate-image", "/api/callback/image-generated"])
async def test_the_gateway_is_told_how_long_it_has(edge: httpx.AsyncClient, path: str) -> None:
    answer = await edge.get(path, headers={DEADLINE: "999999"})

    assert answer.json()["headers"][DEADLINE] == str(int(PATIENT * 1000))
    assert "x-envoy-upstream-service-time" not in answer.headers


@pytest.mark.usefixtures("upstreams")
@pytest.mark.parametrize("path", ["/api/generate-image", "/api/flux-kontext/generate", "/api/nano-banana/generate"])
async def test_only_an_order_that_prefers_to_wait_is_given_longer(edge: httpx.AsyncClient, path: str) -> None:
    plain, waiting = await edge.post(path), await edge.post(path, headers={"Prefer": "wait=55"})

    assert (plain.json()["headers"][DEADLINE], waiting.json()["headers"][DEADLINE]) == ("15000", "70000")


@pytest.mark.usefixtures("edge")
@pytest.mark.parametrize(
    ("start", "code"),
    [
        ("CONNECT a:1 HTTP/1.1", b"FORBIDDEN"),
        ("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket", b"FORBIDDEN"),
    ],
)
async def test_what_the_edge_does_not_do_is_not_our_error(settings: LauncherSettings, start: str, code: bytes) -> None:
    assert b'"code": "%s"' % code in await _raw(settings.port, f"{start}\r\nhost: h\r\n\r\n")


@pytest.mark.usefixtures("edge", "upstreams")
@pytest.mark.parametrize(("host", "seen"), [("host: gallery.example\r\n", "gallery.example"), ("", "localhost")])
async def test_an_http_1_0_client_is_served(settings: LauncherSettings, host: str, seen: str) -> None:
    """Nginx's proxy_pass speaks it by default; the answer ends with the connection and is not chunked."""
    answer = await _raw(settings.port, f"GET /api/x?a=1 HTTP/1.0\r\n{host}\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.split()[1] == b"200"
    assert b"transfer-encoding" not in head.lower()
    assert json.loads(body)["path"] == "/api/x?a=1"
    assert json.loads(body)["headers"]["host"].partition(":")[0] == seen


@pytest.mark.usefixtures("edge")
async def test_what_is_not_http_is_a_json_400(settings: LauncherSettings) -> None:
    answer = await _raw(settings.port, "GET / HTTP/1.1\r\nhost: h\r\nbroken header\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code": "INVALID_INPUT"' in answer


async def _raw(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.usefixtures("upstreams")
async def test_the_access_log_holds_no_callback_and_no_query(edge: httpx.AsyncClient, tmp_path: Path) -> None:
    await edge.post(f"/api/callback/image-generated/{TOKEN}", json={})
    await edge.get("/api/share/list?signature=hush")
    log = tmp_path / "envoy.log"
    await eventually(lambda: "/api/share/list" in log.read_text(encoding="utf-8"))

    assert TOKEN not in log.read_text(encoding="utf-8")
    assert "hush" not in log.read_text(encoding="utf-8")


async def test_only_reads_are_tried_again(edge: httpx.AsyncClient, tmp_path: Path) -> None:
    await edge.post("/api/x")
    after_the_write = await _retries(tmp_path)
    await edge.get("/api/x")

    assert (after_the_write, await _retries(tmp_path)) == (0, 2)


async def _retries(folder: Path) -> int:
    """Ask the admin, which answers on a socket in Envoy's folder that only its user may open."""
    socket_ = folder / ADMIN_SOCKET
    assert stat.S_IMODE(socket_.stat().st_mode) == 0o600
    transport = httpx.AsyncHTTPTransport(uds=str(socket_))
    async with httpx.AsyncClient(base_url="http://admin", transport=transport) as client:
        stats = (await client.get("/stats", params={"filter": r"^cluster\.gateway\.upstream_rq_retry$"})).text
    return int(stats.split()[-1])
