"""Reads DATABASE_URL as libpq does: sslmode and the files of its certificates.

The hosts of databases hand out such URLs, and psql takes them; of their words SQLAlchemy's asyncpg knows none.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError

from services.chassis.errors import Unavailable
from services.chassis.settings import refuse
from services.chassis.tls import verification_error

VERIFYING = ("verify-ca", "verify-full")
PLAIN = ("disable", "allow", "prefer", "require")  # who does not verify the server; asyncpg knows them by these words
FILES = ("sslrootcert", "sslcert", "sslkey")
SYSTEM = "system"  # libpq's word for the authorities that this machine trusts


def driver_url(database_url: str) -> tuple[URL, dict[str, Any]]:
    """The URL for SQLAlchemy's asyncpg without libpq's words, and the arguments of a connection that stand for them.

    As with libpq, `verify-full` verifies the certificate and the host's name, `verify-ca` the certificate alone, and
    `require` does that too where it has an sslrootcert; without one the authorities of this machine count.

    Raises:
        SystemExit: with a sentence, for an unknown sslmode, or files that cannot be used.
    """
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    mode = str(url.query.get("sslmode", ""))
    root, certificate, key = (str(url.query.get(name, "")) for name in FILES)
    url = url.difference_update_query(["sslmode", *FILES])
    if mode == "require" and root:
        mode = "verify-ca"
    if not mode or mode in PLAIN:
        if root or certificate or key:
            refuse("DATABASE_URL: it names certificates, which are of use with sslmode=verify-full only. Add that.")
        return (url.update_query_dict({"ssl": mode}) if mode else url), {}
    if mode not in VERIFYING:
        refuse(f"DATABASE_URL: sslmode must be one of: {', '.join((*PLAIN, *VERIFYING))}.")
    return url, {"ssl": _context(root, certificate, key, check_hostname=mode == "verify-full")}


def _context(root: str, certificate: str, key: str, *, check_hostname: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if root not in ("", SYSTEM):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _loaded("sslrootcert", root, lambda: context.load_verify_locations(root))
    context.check_hostname = check_hostname
    if certificate:
        _loaded("sslcert", certificate, lambda: context.load_cert_chain(certificate, key or None))
    return context


def _loaded(name: str, path: str, load: Callable[[], None]) -> None:
    """Load a file, or refuse to start with a sentence."""
    try:
        load()
    except ssl.SSLError:
        refuse(f"DATABASE_URL: {name} must name a PEM file of certificates (and, for sslcert, sslkey its key): {path}.")
    except OSError as error:
        refuse(f"DATABASE_URL: {name} cannot be read: {path}: {error.strerror}.")


@contextmanager
def certificate_refused() -> Iterator[None]:
    """End a start at which the server of DATABASE_URL shows a certificate that sslmode does not allow.

    Raises:
        SystemExit: with a sentence.
    """
    try:
        yield
    except (DBAPIError, OSError, Unavailable) as error:
        if (cause := verification_error(error)) is None:
            raise
        refuse(
            f"DATABASE_URL: the server's certificate is not accepted: {cause.verify_message}. Is it the right server, "
            "and does sslrootcert name the authority that signed it?"
        )
