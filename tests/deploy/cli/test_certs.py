"""`kawaii certs`: an authority and certificates of processes, in files that nothing overwrites by accident."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from deploy.cli import authority
from deploy.cli.main import main
from services.chassis.callers import PROCESSES
from services.chassis.settings import CommonSettings
from services.chassis.tls import dns_name, internal_tls


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certs"


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["certs", *words, "--dir", str(folder)])


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def days(made: x509.Certificate) -> float:
    return (made.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)


def test_init_makes_an_authority_that_signs_processes_and_no_authorities(folder: Path) -> None:
    done = run(folder, "init")
    made = certificate(folder, "ca")

    assert done.exit_code == 0, done.output
    assert "keep it where no process runs" in done.output
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    assert (mode(folder / "ca.key"), mode(folder / "ca.crt"), mode(folder)) == (0o600, 0o644, 0o700)
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "ca.key"]


@pytest.mark.parametrize("process", PROCESSES)
def test_issue_makes_files_with_which_the_process_starts(folder: Path, process: str) -> None:
    run(folder, "init")
    done = run(folder, "issue", process)
    made = certificate(folder, process)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    paths = {"internal_tls_cert": f"{process}.crt", "internal_tls_key": f"{process}.key", "internal_tls_ca": "ca.crt"}
    settings = CommonSettings(_env_file=None, **{field: folder / name for field, name in paths.items()})

    assert done.exit_code == 0, done.output
    assert internal_tls(settings, process)
    assert names.get_values_for_type(x509.DNSName) == [dns_name(process)]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://kawaii.internal/{process}"]
    assert set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert (mode(folder / f"{process}.key"), mode(folder / f"{process}.crt")) == (0o600, 0o644)
    assert 89 < days(made) <= 90


def test_all_stands_for_every_process(folder: Path) -> None:
    run(folder, "init")
    run(folder, "issue", "all", "--days", "7")

    assert {path.stem for path in folder.glob("*.crt")} == {"ca", *PROCESSES}
    assert all(6 < days(certificate(folder, process)) <= 7 for process in PROCESSES)


def test_a_certificate_lasts_no_longer_than_its_authority(folder: Path) -> None:
    run(folder, "init", "--days", "2")
    run(folder, "issue", "share", "--days", "90")

    assert days(certificate(folder, "share")) <= days(certificate(folder, "ca")) + 0.001


def test_a_process_that_does_not_exist_gets_none(folder: Path) -> None:
    run(folder, "init")
    done = run(folder, "issue", "share", "storrage")

    assert done.exit_code == 2
    assert "No process is called storrage. There are: gateway, generation" in done.output
    assert not (folder / "share.crt").exists()


@pytest.mark.parametrize("words", [["init"], ["issue", "share"]], ids=" ".join)
def test_nothing_is_overwritten_without_force(folder: Path, words: list[str]) -> None:
    run(folder, "init")
    run(folder, "issue", "share")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused = run(folder, *words)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    forced = run(folder, *words, "--force")

    assert refused.exit_code == 1
    assert "would be overwritten: add --force" in refused.output
    assert kept == before
    assert forced.exit_code == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} != before


def test_issue_without_an_authority_says_how_to_make_one(folder: Path) -> None:
    done = run(folder, "issue", "share")

    assert done.exit_code == 1
    assert "There is no authority in" in done.output
    assert "kawaii certs init" in done.output


@pytest.mark.parametrize("spoilt", ["ca.crt", "ca.key"])
def test_issue_with_a_damaged_authority_is_refused(folder: Path, spoilt: str) -> None:
    run(folder, "init")
    (folder / spoilt).write_text("damaged", encoding="ascii")
    done = run(folder, "issue", "share")

    assert done.exit_code == 1
    assert "are not a PEM certificate and its key" in done.output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    assert "cannot be written" in run(tmp_path / "certs", "init").output


def test_show_tells_whose_each_is_and_when_it_expires(folder: Path) -> None:
    run(folder, "init")
    run(folder, "issue", "share", "--days", "7")
    shown = run(folder, "show")

    assert shown.exit_code == 0
    assert "share.kawaii.internal" in shown.output
    assert "6 days" in shown.output
    assert "3649 days" in shown.output


def test_show_fails_when_one_has_expired(folder: Path) -> None:
    made = authority.make_authority(1)
    authority.write(folder, "ca", made)
    authority.write(folder, "share", authority.issue(made, "share", -1 / 1440))
    shown = run(folder, "show")

    assert shown.exit_code == 1
    assert "expired" in shown.output


def test_issue_into_folders_gives_each_process_its_own_files_and_the_authority_but_not_its_key(
    folder: Path, tmp_path: Path
) -> None:
    run(folder, "init")
    done = [run(folder, "issue", "all", "--folders", str(tmp_path / "each"), "--force") for _ in range(2)]

    assert [each.exit_code for each in done] == [0, 0], done[-1].output
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == sorted(PROCESSES)
    for process in PROCESSES:
        own = tmp_path / "each" / process
        assert sorted(path.name for path in own.iterdir()) == sorted(["ca.crt", f"{process}.crt", f"{process}.key"])
        assert (own / "ca.crt").read_bytes() == (folder / "ca.crt").read_bytes()
