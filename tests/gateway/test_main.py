"""The real process: it answers, and stops in order when asked to."""

import asyncio
import os
import shutil
import signal
import ssl
import sys
from http import HTTPStatus
from pathlib import Path

import httpx

from services.chassis.settings import EXIT_CONFIGURATION
from services.chassis.tls import dns_name
from tests.support.certificates import Authority
from tests.support.polling import eventually, until
from tests.support.ports import free_port
from tests.support.valkey import Valkey

DEADLINE_SECONDS = 20.0


async def answers(url: str) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_the_process_serves_and_a_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {"INTERNAL_PORT_BASE": str(port), "LOG_FORMAT": "json", "PYTHONPATH": str(Path.cwd())}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    await answers(f"http://127.0.0.1:{port}/healthz")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, errors = await process.communicate()

    assert process.returncode == 0
    assert b"Traceback" not in errors


async def test_with_tls_the_process_answers_envoy_alone_and_takes_new_certificates(tmp_path: Path) -> None:
    """Whoever else connects is closed before a request is read; the metrics stay readable without a certificate."""
    port, authority = free_port(), Authority.of(tmp_path / "certs")
    authority.issue("gateway")
    environment = os.environ | {"INTERNAL_PORT_BASE": str(port), "PYTHONPATH": str(Path.cwd())}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment | authority.environment("gateway")
    )

    async def asked(context: ssl.SSLContext | None) -> int | str:
        """The status of an answer, or the error of the connection."""
        base, name = f"http{'s' if context else ''}://127.0.0.1:{port}", dns_name("gateway")
        async with httpx.AsyncClient(base_url=base, verify=context or True) as client:
            try:
                return (await client.get("/healthz", extensions={"sni_hostname": name})).status_code
            except httpx.TransportError as error:
                return type(error).__name__

    try:
        await answers(f"http://127.0.0.1:{port + 10}/readyz")
        envoy = authority.client_context("envoy")
        before = await asked(envoy)
        strangers = Authority.of(tmp_path / "other").client_context("envoy")
        strangers.load_verify_locations(authority.folder / "ca.crt")
        refused = [
            await asked(each)
            for each in (authority.client_context("share"), authority.client_context(), strangers, None)
        ]
        new = Authority.of(tmp_path / "new")
        new.issue("gateway")
        for name in ("gateway.key", "gateway.crt", "ca.crt"):
            (new.folder / name).replace(authority.folder / name)
        after = await asked(envoy)
        shutil.copy(authority.folder / "ca.crt", new.folder / "ca.crt")
        renewed = await asked(new.client_context("envoy"))
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"http://127.0.0.1:{port + 10}/metrics")).text
    finally:
        process.terminate()
        await process.wait()

    assert before == HTTPStatus.OK
    assert set(map(type, refused)) == {str}, refused
    assert isinstance(after, str)
    assert renewed == HTTPStatus.OK
    assert 'tls_connections_refused_total{listener="gateway",reason="name"} 1.0' in metrics
    assert 'tls_connections_refused_total{listener="gateway",reason="handshake"}' in metrics
    assert 'certificate_expiration_timestamp_seconds{setting="INTERNAL_TLS_CERT"}' in metrics


async def test_beyond_loopback_without_tls_the_process_does_not_start(tmp_path: Path) -> None:
    environment = os.environ | {
        "INTERNAL_PORT_BASE": str(free_port()),
        "LISTEN_HOST": "0.0.0.0",
        "PYTHONPATH": str(Path.cwd()),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()

    assert process.returncode == EXIT_CONFIGURATION
    assert b"LISTEN_HOST=0.0.0.0 is reached from other machines" in errors


async def test_a_process_that_drains_says_so_to_envoy_and_serves_until_envoy_has_noticed(tmp_path: Path) -> None:
    port = free_port()
    beyond = {"LISTEN_HOST": "0.0.0.0", "INTERNAL_INSECURE": "1", "REDIS_URL": "none"}
    environment = os.environ | beyond | {"INTERNAL_PORT_BASE": str(port), "PYTHONPATH": str(Path.cwd())}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await answers(f"{url}/-/ready")
        async with httpx.AsyncClient(base_url=url) as client:

            async def drains() -> httpx.Response | None:
                answer = await client.get("/-/ready")
                return None if answer.is_success else answer

            process.send_signal(signal.SIGTERM)
            answer = await eventually(drains)
        async with httpx.AsyncClient(base_url=url) as newcomer:
            late = await newcomer.get("/healthz")
        async with asyncio.timeout(DEADLINE_SECONDS):
            ended = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()

    assert (answer.status_code, answer.text) == (503, "draining\n")
    assert (late.status_code, late.headers["connection"]) == (200, "close")
    assert ended == 0


async def test_the_process_listens_for_changes_of_shares(tmp_path: Path, valkey: Valkey) -> None:
    port, channel = free_port(), "kawaii.share.v1.ShareService"
    environment = os.environ | {
        "INTERNAL_PORT_BASE": str(port),
        "REDIS_URL": valkey.url,
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(Path.cwd()),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    await asyncio.to_thread(until, lambda: dict(valkey.redis.pubsub_numsub(channel))[channel.encode()] or None)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await process.wait() == 0


async def test_the_process_keeps_token_buckets_in_redis(tmp_path: Path, valkey: Valkey) -> None:
    port = free_port()
    environment = os.environ | {
        "INTERNAL_PORT_BASE": str(port),
        "REDIS_URL": valkey.url,
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(Path.cwd()),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await answers(f"http://127.0.0.1:{port}/healthz")
        async with httpx.AsyncClient() as client:
            await client.post(f"http://127.0.0.1:{port}/api/share", headers={"x-kawaii-client": "192.0.2.1"})
        assert await asyncio.to_thread(valkey.redis.exists, "kawaii:bucket:shares:192.0.2.1")
    finally:
        process.terminate()
        await process.wait()
        valkey.kill()
