"""Redis over TLS by rediss://, verified; a real Valkey stands behind TLS of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from services.chassis.cache import open_cache
from services.chassis.redis_url import require_redis
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings
from tests.support.certificates import Authority
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.tls_front import tls_front
from tests.support.valkey import Valkey


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.of(tmp_path / "certs")


@pytest.fixture
async def port(authority: Authority, valkey: Valkey) -> AsyncIterator[int]:
    socket = valkey.url.removeprefix("unix://")

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(socket)

    async with tls_front(authority.server_context(), connect) as port:
        yield port


def settings_of(authority: Authority, port: int, host: str = "localhost") -> CommonSettings:
    url = f"rediss://{host}:{port}/0?ssl_ca_certs={authority.folder}/ca.crt"
    return CommonSettings(redis_url=url, _env_file=None)


async def test_a_verified_redis_keeps_what_it_is_given(authority: Authority, port: int, valkey: Valkey) -> None:
    settings = settings_of(authority, port)
    await asyncio.to_thread(require_redis, settings)
    async with open_cache(settings.effective_redis_url) as cache:

        async def kept() -> bool:
            await cache.set("key", b"value", 60)  # given up where a busy machine takes too long, as of any Redis
            return await cache.get("key") == b"value"

        await eventually(kept)

    assert valkey.redis.dbsize() == 1


@pytest.mark.parametrize("case", ["another authority", "another host"])
async def test_a_redis_that_is_not_the_right_one_ends_the_start_with_a_sentence(
    tmp_path: Path, authority: Authority, port: int, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    other = Authority.of(tmp_path / "other")
    wrong = settings_of(other, port) if case == "another authority" else settings_of(authority, port, "127.0.0.1")

    with pytest.raises(SystemExit) as refused:
        await asyncio.to_thread(require_redis, wrong)

    assert refused.value.code == EXIT_CONFIGURATION
    assert "REDIS_URL: the server's certificate is not accepted" in capsys.readouterr().err


def test_a_missing_file_of_its_certificates_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"rediss://localhost:{free_port()}/0?ssl_ca_certs={tmp_path}/ca.crt"
    with pytest.raises(SystemExit):
        require_redis(CommonSettings(redis_url=url, _env_file=None))

    assert "REDIS_URL: ssl_ca_certs cannot be read" in capsys.readouterr().err


def test_a_redis_that_is_away_does_not_keep_a_process_from_starting(authority: Authority) -> None:
    require_redis(settings_of(authority, free_port()))


@pytest.mark.parametrize("url", ["none", "", "redis://127.0.0.1:1/0"])
def test_without_tls_nothing_is_looked_at(url: str) -> None:
    require_redis(CommonSettings(redis_url=url, _env_file=None))


@pytest.mark.parametrize(
    ("host", "url", "starts"),
    [
        ("127.0.0.1", "", True),
        ("10.0.0.1", "redis://host/0", True),
        ("10.0.0.1", "none", True),
        ("10.0.0.1", "", False),
    ],
)
def test_beyond_loopback_the_redis_that_replicas_share_has_to_be_named(
    capsys: pytest.CaptureFixture[str], host: str, url: str, *, starts: bool
) -> None:
    settings = CommonSettings(listen_host=ip_address(host), redis_url=url, _env_file=None)
    if starts:
        require_redis(settings)
    else:
        with pytest.raises(SystemExit) as refused:
            require_redis(settings)
        assert refused.value.code == 78
        assert "REDIS_URL is not set" in capsys.readouterr().err
