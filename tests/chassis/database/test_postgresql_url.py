"""PostgreSQL over TLS as DATABASE_URL says it in libpq's words; a real server stands behind TLS of the test's own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from services.chassis.database import Transaction, open_database
from services.chassis.database.postgresql_url import driver_url
from services.chassis.migrations import migrate
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings
from tests.support.certificates import Authority
from tests.support.postgres import Postgres
from tests.support.tls_front import SSL_REQUEST, tls_front

SERVICE = "share"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.of(tmp_path / "certs")


@pytest.fixture
async def server(authority: Authority, postgres_server: Postgres) -> AsyncIterator[str]:
    """host:port/database of a migrated database behind TLS."""
    url = postgres_server.create_database()
    await asyncio.to_thread(migrate, SERVICE, CommonSettings(database_url=url, _env_file=None))
    inner = urlsplit(url)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(inner.hostname, inner.port)

    async with tls_front(authority.server_context(), connect, asked=SSL_REQUEST) as port:
        yield f"postgres@{{host}}:{port}{inner.path}"


def settings_of(tmp_path: Path, server: str, query: str, host: str = "localhost") -> CommonSettings:
    url = f"postgresql://{server.format(host=host)}?{query}"
    return CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None)


def answer(transaction: Transaction) -> int:
    return int(transaction.scalar(text("SELECT 42")))


async def opened(settings: CommonSettings) -> int:
    async with open_database(settings, SERVICE) as database:
        return await database.read(answer)


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require"])
async def test_the_server_is_verified_by_the_authority_that_the_url_names(
    tmp_path: Path, authority: Authority, server: str, mode: str
) -> None:
    query = f"sslmode={mode}&sslrootcert={authority.folder}/ca.crt"

    assert await opened(settings_of(tmp_path, server, query)) == 42


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
async def test_a_server_of_another_authority_ends_the_start_with_a_sentence(
    tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    other = Authority.of(tmp_path / "other")
    query = f"sslmode={mode}&sslrootcert={other.folder}/ca.crt"
    settings = settings_of(tmp_path, server, query)

    with pytest.raises(SystemExit) as refused:
        await opened(settings)
    with pytest.raises(SystemExit) as not_migrated:
        await asyncio.to_thread(migrate, SERVICE, settings)

    assert (refused.value.code, not_migrated.value.code) == (EXIT_CONFIGURATION, EXIT_CONFIGURATION)
    assert capsys.readouterr().err.count("DATABASE_URL: the server's certificate is not accepted") == 2


async def test_verify_full_looks_at_the_name_of_the_host(
    tmp_path: Path, authority: Authority, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    query = f"sslrootcert={authority.folder}/ca.crt"
    answered = await opened(settings_of(tmp_path, server, f"sslmode=verify-ca&{query}", "127.0.0.1"))
    with pytest.raises(SystemExit):
        await opened(settings_of(tmp_path, server, f"sslmode=verify-full&{query}", "127.0.0.1"))

    assert answered == 42
    assert "IP address mismatch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.crt", "sslrootcert cannot be read: /nowhere/ca.crt"),
        ("sslmode=verify-full&sslrootcert={file}", "sslrootcert must name a PEM file"),
        ("sslmode=verify-full&sslcert={file}", "sslcert must name a PEM file"),
        ("sslmode=verify-all", "sslmode must be one of: disable, allow"),
        ("sslrootcert={file}", "of use with sslmode=verify-full only"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], query: str, sentence: str
) -> None:
    file = tmp_path / "file"
    file.write_text("no certificate", encoding="ascii")

    with pytest.raises(SystemExit) as refused:
        driver_url(f"postgresql://localhost/kawaii?{query.format(file=file)}")

    assert refused.value.code == EXIT_CONFIGURATION
    assert sentence in capsys.readouterr().err
