"""Certificates for tests, made by the code of `kawaii certs`: an authority in a folder, and files of processes."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from deploy.cli.authority import Certified, issue, make_authority, sign, write
from services.chassis.settings import CommonSettings

DAYS = 1.0


@dataclass(frozen=True)
class Authority:
    """An authority whose certificate is CA.crt in a folder, beside those that are issued."""

    folder: Path
    own: Certified

    @classmethod
    def of(cls, folder: Path) -> "Authority":
        """A new authority in a new folder."""
        made = make_authority(DAYS)
        write(folder, "ca", made)
        return cls(folder, made)

    def issue(self, process: str, *, days: float = DAYS) -> CommonSettings:
        """Write the certificate of a process, replacing what there was; the settings that name it."""
        write(self.folder, process, issue(self.own, process, days), force=True)
        return self.settings(process)

    def settings(self, process: str) -> CommonSettings:
        """The settings that name the files of a process."""
        return CommonSettings(_env_file=None, **self.fields(process))

    def fields(self, process: str) -> dict[str, Path]:
        """The same as fields of any process's settings."""
        return {
            "internal_tls_cert": self.folder / f"{process}.crt",
            "internal_tls_key": self.folder / f"{process}.key",
            "internal_tls_ca": self.folder / "ca.crt",
        }

    def environment(self, process: str) -> dict[str, str]:
        """The same as variables."""
        return {name.upper(): str(path) for name, path in self.fields(process).items()}

    def client_context(self, process: str = "") -> ssl.SSLContext:
        """A context of a client that trusts this authority, and shows the certificate of a process."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if process:
            self.issue(process)
            context.load_cert_chain(self.folder / f"{process}.crt", self.folder / f"{process}.key")
        return context

    def server_context(self, host: str = "localhost") -> ssl.SSLContext:
        """A context of a server that shows a certificate for a host."""
        write(self.folder, host, sign(self.own, host, [x509.DNSName(host)], DAYS), force=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{host}.crt", self.folder / f"{host}.key")
        return context
