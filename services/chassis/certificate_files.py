"""Reads the PEM files of INTERNAL_TLS_… and refuses what could not work, each with a sentence that names the setting.

Loaded by the processes that have TLS alone: the library for certificates costs 2 MB.
"""

import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.chassis.tls import AUTHORITY, CERTIFICATE, KEY, KeyPair, TlsFilesError

MAX_FILE_BYTES = 1024 * 1024  # a bundle of every public authority has 250 KB
PRIVATE, GROUP_READABLE = 0o600, 0o640  # what a key file may allow, of the process's own user and of root


def read(certificate: Path, key: Path, authority: Path) -> KeyPair:
    """Read the files. Raises TlsFilesError when they are unreadable, do not belong together, or are not valid."""
    check_private(key)
    pem = {
        name: read_file(path, name) for name, path in ((CERTIFICATE, certificate), (KEY, key), (AUTHORITY, authority))
    }
    chain, roots = certificates(pem[CERTIFICATE], CERTIFICATE), certificates(pem[AUTHORITY], AUTHORITY)
    check_key(pem[KEY], chain[0])
    check_valid_now(chain[0], CERTIFICATE)
    check_issuer(chain, roots)
    not_after = chain[0].not_valid_after_utc
    return KeyPair(pem[CERTIFICATE], pem[KEY], pem[AUTHORITY], not_after, dns_names(chain[0]))


def check_private(path: Path, setting: str = KEY) -> None:
    """Refuse a key that others could have read. Raises TlsFilesError.

    It must be the process's own and closed to all others, or root's and readable by a group at most: the second is how
    Kubernetes and distributions hand keys to a service, and PostgreSQL has the same rule.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise TlsFilesError(f"{setting} cannot be read: {path}: {error.strerror}.") from None
    if found.st_uid not in (os.geteuid(), 0):
        raise TlsFilesError(
            f"{setting} belongs to another user: {path} must belong to the user of this process, or to root."
        )
    most = PRIVATE if found.st_uid == os.geteuid() else GROUP_READABLE
    if stat.S_IMODE(found.st_mode) & 0o777 & ~most:
        raise TlsFilesError(
            f"{setting} can be read or written by others: chmod {most:o} {path}, and replace it if they did."
        )


def read_file(path: Path, setting: str) -> bytes:
    """The content of a file. Raises TlsFilesError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TlsFilesError(f"{setting} cannot be read: {path}: {error.strerror}.") from None
    if len(content) > MAX_FILE_BYTES:
        raise TlsFilesError(f"{setting} is no PEM file of certificates: {path} is larger than {MAX_FILE_BYTES} bytes.")
    return content


def certificates(pem: bytes, setting: str) -> list[x509.Certificate]:
    """The certificates of a file, at least one. Raises TlsFilesError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TlsFilesError(f"{setting} must name a file with a certificate in PEM.") from None


def check_key(pem: bytes, certificate: x509.Certificate, setting: str = KEY, of: str = CERTIFICATE) -> None:
    """Refuse a key that is not the certificate's, which another setting names. Raises TlsFilesError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise TlsFilesError(
            f"{setting} is locked with a password, which no process can type: store it without."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsFilesError(f"{setting} must name a file with a private key in PEM.") from None
    if key.public_key() != certificate.public_key():
        raise TlsFilesError(f"{setting} is not the key of the certificate in {of}: they must be made together.")


def check_valid_now(certificate: x509.Certificate, setting: str) -> None:
    """Refuse a certificate before and after its time. Raises TlsFilesError."""
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        raise TlsFilesError(f"{setting} has expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it.")
    if certificate.not_valid_before_utc > now:
        begin = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
        raise TlsFilesError(f"{setting} is not valid before {begin} UTC: is the clock of this machine right?")


def check_public(certificate: Path, key: Path, of: str, setting: str) -> None:
    """Refuse the files of a public site, which these two settings name. Raises TlsFilesError.

    Who signed the certificate is for the site's visitors to judge.
    """
    check_private(key, setting)
    chain = certificates(read_file(certificate, of), of)
    check_key(read_file(key, setting), chain[0], setting, of)
    check_valid_now(chain[0], of)


def check_issuer(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> None:
    """Refuse a certificate that every peer would refuse, as no authority of theirs signed it. Raises TlsFilesError."""
    if any(is_issued_by(certificate, root) for certificate in chain for root in roots):
        return
    raise TlsFilesError(f"{CERTIFICATE} was not signed by an authority in {AUTHORITY}: peers would refuse it.")


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority's key signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def dns_names(certificate: x509.Certificate) -> frozenset[str]:
    """The DNS names of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(found.value.get_values_for_type(x509.DNSName))
