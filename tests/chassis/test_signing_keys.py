"""Signing keys: one for each purpose, rotated without refusing what was signed before, the same for all replicas."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import MetaData
from sqlalchemy.schema import CreateTable

from services.chassis.agreements import agreement_table, forget
from services.chassis.database import Database, connect_database
from services.chassis.signing_keys import (
    AGREEMENT,
    FILE,
    Purpose,
    SigningKeys,
    SigningSettings,
    former_key,
    open_signing_keys,
    require_same_key,
)
from tests.support.postgres import Postgres

OLD, NEW = "old-key-" + "0123456789abcdef" * 2, "new-key-" + "0123456789abcdef" * 2
TABLE = agreement_table(MetaData())
# openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt key:$OLD -kdfopt "info:kawaii upload link" HKDF
DERIVED = "6415197324c04c31393bc0bf593d3c84f13142d035f38d79ee06141f063f6608"


def settings(folder: Path, **given: Any) -> SigningSettings:
    return SigningSettings(data_dir=folder, _env_file=None, **{name: SecretStr(key) for name, key in given.items()})


def opened(folder: Path, listen_host: str = "127.0.0.1", **given: Any) -> SigningKeys:
    return open_signing_keys(settings(folder, **given).model_copy(update={"listen_host": ip_address(listen_host)}))


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with nothing but the table."""
    url = ""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres_server")
        url = server.create_database()
    given = SigningSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    async with connect_database(given, "public") as database:
        await database.write(lambda transaction: transaction.execute(CreateTable(TABLE)))
        yield database


def test_each_purpose_has_a_key_of_its_own_and_the_same_for_every_replica(tmp_path: Path) -> None:
    keys, replica = opened(tmp_path / "a", signing_key=OLD), opened(tmp_path / "b", signing_key=OLD)
    present = [keys.of(purpose).present for purpose in Purpose]

    assert len({*present, OLD.encode()}) == len(Purpose) + 1
    assert present == [replica.of(purpose).present for purpose in Purpose]
    assert keys.of(Purpose.UPLOAD_LINK).present.hex() == DERIVED
    assert keys.fingerprint == replica.fingerprint
    assert OLD not in repr(keys.of(Purpose.UPLOAD_LINK))


def test_what_the_former_key_signed_is_accepted_while_it_is_named_and_signed_no_more(tmp_path: Path) -> None:
    before = opened(tmp_path, signing_key=OLD).of(Purpose.UPLOAD_LINK)
    during = opened(tmp_path, signing_key=NEW, signing_key_previous=OLD).of(Purpose.UPLOAD_LINK)
    after = opened(tmp_path, signing_key=NEW).of(Purpose.UPLOAD_LINK)
    signature = before.sign(b"message")

    assert during.verifies(signature, b"message")
    assert not during.verifies(signature, b"another")
    assert not after.verifies(signature, b"message")
    assert during.sign(b"message") == after.sign(b"message") != signature


def test_a_key_of_a_file_that_an_older_version_made_goes_on_verifying(tmp_path: Path) -> None:
    former = tmp_path / "storage-link.key"
    assert former_key(former) == ()
    former.write_bytes(b"\xff" * 32)
    keys = opened(tmp_path, signing_key=NEW).of(Purpose.UPLOAD_LINK, *former_key(former))

    assert keys.all[1:] == (b"\xff" * 32,)
    assert keys.present == opened(tmp_path, signing_key=NEW).of(Purpose.UPLOAD_LINK).present


def test_without_a_setting_a_key_is_made_once_for_its_owner_alone_and_may_be_given_to_replicas(tmp_path: Path) -> None:
    made, again = opened(tmp_path), opened(tmp_path)
    file = tmp_path / FILE

    assert file.stat().st_mode & 0o777 == 0o600
    assert made.fingerprint == again.fingerprint
    given = opened(tmp_path / "elsewhere", signing_key=file.read_text().strip(), listen_host="0.0.0.0")
    assert given.fingerprint == made.fingerprint
    renewed = opened(tmp_path, signing_key=NEW)  # the file's key is a former one then
    assert renewed.former_fingerprints == (made.fingerprint,)


def test_beyond_loopback_a_key_has_to_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        opened(tmp_path, listen_host="0.0.0.0")

    assert refused.value.code == 78
    assert "SIGNING_KEY is not set" in capsys.readouterr().err
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", ["", "short", "\n"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SystemExit) as refused:
        opened(tmp_path)

    assert refused.value.code == 78
    assert FILE in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"signing_key": "secret"}, "at least 32 characters"),
        ({"signing_key": "ab" * 32}, "different characters"),
        ({"signing_key": NEW, "signing_key_previous": "old"}, "at least 32 characters"),
        ({"signing_key": NEW, "signing_key_previous": NEW}, "another key than SIGNING_KEY"),
    ],
)
def test_a_key_that_can_be_tried_out_is_refused(tmp_path: Path, given: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        settings(tmp_path, **given)


async def test_a_replica_with_another_key_is_refused_and_a_rotation_is_not(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def start(**given: str) -> None:
        await require_same_key(database, TABLE, opened(tmp_path / "none", **given))

    await start(signing_key=OLD)
    await start(signing_key=OLD, signing_key_previous=NEW)  # the first step of a rotation without a refused link
    await start(signing_key=NEW, signing_key_previous=OLD)
    await start(signing_key=OLD, signing_key_previous=NEW)  # a replica that has not been told yet starts again
    await start(signing_key=NEW, signing_key_previous=OLD)
    await start(signing_key=NEW)

    with pytest.raises(SystemExit) as refused:
        await start(signing_key=OLD)
    error = capsys.readouterr().err
    assert refused.value.code == 78
    assert "SIGNING_KEY" in error
    assert OLD not in error
    assert NEW not in error

    assert await database.write(forget, TABLE, AGREEMENT)
    await start(signing_key=OLD)
