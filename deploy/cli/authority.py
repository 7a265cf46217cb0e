"""A small certificate authority for the processes of one site, for people who have none; `kawaii certs` is its face.

The authority signs certificates of processes and nothing else: it can make no further authority. Whoever has its key
can be any process, so that key belongs on no machine of the stack.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.chassis.certificate_files import dns_names
from services.chassis.tls import DOMAIN, dns_name

AUTHORITY = "ca"  # ca.crt and ca.key
EARLY = timedelta(minutes=5)  # clocks of two machines differ
PUBLIC, SECRET = 0o644, 0o600


class AuthorityError(ValueError):
    """The files of the authority cannot be read or written; the message is a sentence or two."""


@dataclass(frozen=True)
class Certified:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as it is written to a file."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as it is written to a file, unlocked: processes start without a person."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Described:
    """A certificate in words."""

    names: tuple[str, ...]
    expires: str
    left: str
    expired: bool


def make_authority(days: float) -> Certified:
    """A new authority, which may sign certificates of processes but no further authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kawaii internal authority")])
    usage = _usage(signs_certificates=True)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage, True),
    ]
    return Certified(_signed(name, key, name, key, days=days, extensions=extensions), key)


def issue(authority: Certified, process: str, days: float, *, common_name: str = "") -> Certified:
    """A new certificate of a process, with which it both serves and calls."""
    names = [x509.DNSName(dns_name(process)), x509.UniformResourceIdentifier(f"spiffe://{DOMAIN}/{process}")]
    return sign(authority, common_name or process, names, days)


def sign(authority: Certified, common_name: str, names: Iterable[x509.GeneralName], days: float) -> Certified:
    """A new certificate for names, for servers and clients."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        (x509.SubjectAlternativeName(names), False),
        (signer, False),
    ]
    issuer = authority.certificate.subject
    return Certified(_signed(subject, key, issuer, authority.key, days=days, extensions=extensions), key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    *,
    days: float,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def read_authority(folder: Path) -> Certified:
    """The authority that `init` made in a folder. Raises AuthorityError."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{AUTHORITY}.crt").read_bytes())
        key = load_pem_private_key((folder / f"{AUTHORITY}.key").read_bytes(), password=None)
    except OSError as error:
        raise AuthorityError(
            f"There is no authority in {folder} ({error.filename}: {error.strerror}). Make one: kawaii certs init."
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuthorityError(f"{folder}/{AUTHORITY}.crt and .key are not a PEM certificate and its key.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError(f"{folder}/{AUTHORITY}.key is not the key of {AUTHORITY}.crt.")
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise AuthorityError(f"The authority in {folder} has expired: kawaii certs init --force makes a new one.")
    return Certified(certificate, key)


def write(folder: Path, name: str, made: Certified, *, force: bool = False) -> None:
    """Write NAME.crt and NAME.key, the key for its owner alone; each file is whole at any moment.

    The key is written first, so that a certificate never lies beside the key of another for longer than a rename.

    Raises:
        AuthorityError: one of them exists and `force` is not set, or the folder cannot be written.
    """
    files = {folder / f"{name}.key": (made.key_pem, SECRET), folder / f"{name}.crt": (made.certificate_pem, PUBLIC)}
    if not force and (there := [str(path) for path in files if path.exists()]):
        raise AuthorityError(f"{' and '.join(there)} would be overwritten: add --force to replace them.")
    _write(folder, files)


def write_certificate(folder: Path, name: str, made: Certified) -> None:
    """Write NAME.crt alone, in the place of one that is there. Raises AuthorityError."""
    _write(folder, {folder / f"{name}.crt": (made.certificate_pem, PUBLIC)})


def _write(folder: Path, files: dict[Path, tuple[bytes, int]]) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, (content, mode) in files.items():
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            draft.replace(path)
    except OSError as error:
        raise AuthorityError(f"{error.filename} cannot be written: {error.strerror}.") from None


def describe(path: Path) -> Described:
    """Whose a certificate is, when it expires and how long that is from now. Raises AuthorityError."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise AuthorityError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise AuthorityError(f"{path} is no certificate in PEM.") from None
    end = certificate.not_valid_after_utc
    left = end - datetime.now(UTC)
    names = sorted(dns_names(certificate)) or [certificate.subject.rfc4514_string()]
    words = "expired" if left < timedelta(0) else f"{left.days} days"
    return Described(tuple(names), f"{end:%Y-%m-%d %H:%M}Z", words, expired=left < timedelta(0))


def days_left(authority: Certified) -> float:
    """How long the authority is valid; what it signs is valid for no longer."""
    return (authority.certificate.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)
