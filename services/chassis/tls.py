"""Mutual TLS between the processes: the files of INTERNAL_TLS_…, read again when they change.

Each process has one certificate, whose DNS name says which process it is (`generation.kawaii.internal`), and one
authority that signs those of all. Both ends verify: a client that the name is the one it meant, whatever address it
dialled, a server that the peer has a certificate at all; what the peer may call is decided by callers.py.

Files that were replaced take effect for new connections. A certificate is usually written before its key: a pair that
is not whole, or not valid, is not taken, the one before stays in use, and the log says why.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, cast

import grpc
import structlog
from prometheus_client import Counter, Gauge

from services.chassis.addresses import is_loopback
from services.chassis.settings import CommonSettings, refuse

DOMAIN = "kawaii.internal"  # no public name ends so; nobody else can have a certificate for one
POLL_SECONDS = 1.0  # how late a replaced certificate is seen; looking costs three stats

CERTIFICATE, KEY, AUTHORITY = "INTERNAL_TLS_CERT", "INTERNAL_TLS_KEY", "INTERNAL_TLS_CA"

EXPIRATION = Gauge(
    "certificate_expiration_timestamp_seconds", "When the process's own certificate expires.", ("setting",)
)
RELOADS = Counter("certificate_reloads_total", "Replaced certificate files, by whether they were taken.", ("outcome",))
HANDSHAKES = Counter("tls_handshakes_started_total", "Connections that began a TLS handshake.", ("listener",))
REFUSED = Counter(
    "tls_connections_refused_total",
    "Connections that TLS refused: handshake failed, or not the process that may connect. Of gRPC only in its log.",
    ("listener", "reason"),
)

logger = structlog.get_logger()


def dns_name(process: str) -> str:
    """The DNS name in the certificate of a process."""
    return f"{process}.{DOMAIN}"


class TlsFilesError(ValueError):
    """The files of INTERNAL_TLS_… cannot be used; the message is a sentence that names the setting."""


@dataclass(frozen=True)
class KeyPair:
    """A certificate chain, its key and the authority of the peers, as PEM, checked to fit together."""

    certificate: bytes
    key: bytes
    authority: bytes
    not_after: datetime
    names: frozenset[str]
    """The DNS names of the certificate."""


Read = Callable[[Path, Path, Path], KeyPair]
Signature = tuple[tuple[int, ...], ...]


class InternalTls:
    """The certificate, key and authority of this process, as the files are now."""

    def __init__(self, certificate: Path, key: Path, authority: Path) -> None:
        """Read the files. Raises TlsFilesError."""
        self._files = certificate, key, authority
        self._read: Read = resolve_name("services.chassis.certificate_files:read")  # 2 MB, only for who has TLS
        self._lock = threading.Lock()  # gRPC asks from threads of its own
        self._reported = ""
        self._version = 0
        self._signature = self._signed()
        self._pair = self._read(*self._files)
        EXPIRATION.labels(CERTIFICATE).set(self._pair.not_after.timestamp())

    @property
    def names(self) -> frozenset[str]:
        """The DNS names of the own certificate."""
        return self.current().names

    def current(self) -> KeyPair:
        """The last whole and valid pair; looks whether the files have changed."""
        return self._current()[1]

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials of a gRPC server: clients must have a certificate; each connection gets the files as they are."""
        version, pair = self._current()
        given = [version]

        def fetch() -> Any:
            HANDSHAKES.labels("grpc").inc()
            version, pair = self._current()
            if version == given[0]:
                return None
            given[0] = version
            return _configuration(pair)

        return grpc.dynamic_ssl_server_credentials(_configuration(pair), fetch, require_client_authentication=True)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a gRPC client with the files as they are now; a channel keeps them for its life."""
        pair = self.current()
        return grpc.ssl_channel_credentials(pair.authority, pair.key, pair.certificate)

    def server_context(self, listener: str, peer: str) -> ssl.SSLContext:
        """A context for an asyncio server on which only one process may connect: any other is closed at once.

        `listener` names it in metrics and the log.
        """
        return ReloadingContext.of(self, listener, dns_name(peer))

    def open_context(self, listener: str, peer: str) -> "PeerContext":
        """A context with the files as they are now. Raises OSError, as ssl does, while they are being replaced."""
        context = PeerContext(ssl.PROTOCOL_TLS_SERVER)
        context.listener, context.peer = listener, peer
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.sslobject_class = PeerObject
        context.load_verify_locations(cadata=self.current().authority.decode("ascii", "replace"))
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have a context show the own certificate. Raises OSError, as ssl does, while it is being replaced."""
        certificate, key, _ = self._files
        context.load_cert_chain(certificate, key)

    @property
    def version(self) -> int:
        """How often the files have been replaced."""
        return self._current()[0]

    async def watch(self) -> AsyncIterator[None]:
        """Yield each time that the files have changed and are a whole, valid pair; looks each POLL_SECONDS."""
        seen, _ = self._current()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            version, _ = self._current()
            if version != seen:
                seen = version
                yield

    def _current(self) -> tuple[int, KeyPair]:
        with self._lock:
            signature = self._signed()
            if signature and signature != self._signature:
                self._replace(signature)
            return self._version, self._pair

    def _signed(self) -> Signature:
        """What changes when a file is written or replaced; empty while one is missing."""
        try:
            stats = [path.stat() for path in self._files]
        except OSError:
            return ()
        return tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in stats)

    def _replace(self, signature: Signature) -> None:
        """Take the changed files, or keep the pair before them: then they are read again at the next look."""
        try:
            pair = self._read(*self._files)
        except TlsFilesError as error:
            if str(error) != self._reported:
                self._reported = str(error)
                RELOADS.labels("refused").inc()
                logger.warning("certificate_not_taken", why=self._reported, meaning="The one before stays in use.")
            return
        self._reported = ""
        self._signature, self._pair, self._version = signature, pair, self._version + 1
        RELOADS.labels("taken").inc()
        EXPIRATION.labels(CERTIFICATE).set(pair.not_after.timestamp())
        logger.info("certificate_replaced", not_after=pair.not_after.isoformat(timespec="seconds"))


def _configuration(pair: KeyPair) -> Any:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], pair.authority)


class PeerContext(ssl.SSLContext):
    """What a listener demands of a connection: a certificate of the authority, and whose."""

    listener: str
    peer: str


class PeerObject(ssl.SSLObject):
    """One connection of a listener, whose handshake fails unless the peer is the process that may connect.

    asyncio and uvloop end a connection whose handshake fails, whatever server runs on it: the application is never
    called, and no server has to hand the peer's certificate on to it.
    """

    def do_handshake(self) -> None:
        """Do a part of the handshake, as asyncio asks for it, and look at the peer's certificate in the end."""
        context = cast("PeerContext", self.context)  # which made this object
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._refused(context, "handshake", error.reason or type(error).__name__)
            raise
        found = cast("Any", self.getpeercert())  # typed as if each value were a string
        names = [value for kind, value in found.get("subjectAltName", ()) if kind == "DNS"]
        if context.peer not in names:
            self._refused(
                context, "name", f"the peer is {', '.join(names) or 'nobody'}, and only {context.peer} may connect"
            )
            raise ssl.SSLCertVerificationError("this process may not connect here")

    def _refused(self, context: PeerContext, reason: str, why: str) -> None:
        REFUSED.labels(context.listener, reason).inc()
        logger.warning("connection_refused", listener=context.listener, why=why)


class ReloadingContext(PeerContext):
    """Gives each connection the files as they are then.

    asyncio keeps the context that a server was started with. Loading new files into that one would leave an authority
    that was removed in force.
    """

    _tls: InternalTls
    _version: int
    _now: PeerContext

    @classmethod
    def of(cls, tls: InternalTls, listener: str, peer: str) -> "ReloadingContext":
        """A context of these files for a listener on which one process may connect."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._tls, made.listener, made.peer = tls, listener, peer
        made._version, made._now = tls.version, tls.open_context(listener, peer)
        return made

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin the TLS of one connection."""
        HANDSHAKES.labels(self.listener).inc()
        if (version := self._tls.version) != self._version:
            with suppress(OSError):  # replaced again at this moment: the next connection looks once more
                self._now, self._version = self._tls.open_context(self.listener, self.peer), version
        return self._now.wrap_bio(*args, **kwargs)


def internal_tls(settings: CommonSettings, process: str = "") -> InternalTls | None:
    """The TLS of this process, or None where INTERNAL_TLS_… are not set. `process` must be named by the certificate.

    Raises:
        SystemExit: the files cannot be used, with one sentence that names the setting.
    """
    try:
        tls = _opened(settings)
    except TlsFilesError as error:
        refuse(str(error))
    if tls and process and dns_name(process) not in tls.names:
        named = ", ".join(sorted(tls.names)) or "no DNS name"
        refuse(f"{CERTIFICATE} is not the certificate of this process: it names {named}, not {dns_name(process)}.")
    return tls


def tls_complaint(settings: CommonSettings) -> str:
    """Why the files of INTERNAL_TLS_… cannot be used, in a sentence that names the setting; empty when they can."""
    try:
        _opened(settings)
    except TlsFilesError as error:
        return str(error)
    return ""


def _opened(settings: CommonSettings) -> InternalTls | None:
    certificate, key, authority = settings.internal_tls_cert, settings.internal_tls_key, settings.internal_tls_ca
    if certificate is None or key is None or authority is None:
        return None
    return InternalTls(certificate, key, authority)


def require_tls(settings: CommonSettings, process: str) -> InternalTls | None:
    """The same for a process that listens; None only where strangers do not reach it, or INTERNAL_INSECURE=1 allows it.

    Raises:
        SystemExit: with one sentence that names the settings.
    """
    tls = internal_tls(settings, process)
    if tls is None:
        require_loopback(settings)
    return tls


def require_loopback(settings: CommonSettings) -> None:
    """Refuse to serve other machines without TLS; where INTERNAL_INSECURE=1 allows it, each start logs a warning.

    Raises:
        SystemExit: with one sentence that names the settings.
    """
    host = str(settings.listen_host)
    if is_loopback(host):
        return
    if not settings.internal_insecure:
        refuse(
            f"LISTEN_HOST={host} is reached from other machines, which could call this process as anybody. Set "
            f"{CERTIFICATE}, {KEY} and {AUTHORITY} (`kawaii certs` makes the files), or INTERNAL_INSECURE=1 where the "
            "network itself keeps strangers out."
        )
    meaning = "Whoever reaches this address may call everything, as any person: INTERNAL_INSECURE=1 allows that."
    logger.warning("internal_insecure", listen_host=host, meaning=meaning)


def verification_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The failed verification of a server's certificate that an error came from."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return error
