"""Settings from the environment and .env: read and cast once, with every problem in one message."""

import os
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar

from pydantic import AfterValidator, AliasChoices, Field, IPvAnyAddress, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from services.chassis.addresses import (
    LOOPBACK,
    Address,
    ListenPort,
    address_of,
    names_in,
    parse_target,
    port_of,
    taken,
    unresolved,
)
from services.chassis.outbound import check_web_url

S = TypeVar("S", bound="CommonSettings")

EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h
PRIVATE_UMASK = 0o077  # prompts, pictures and tokens lie in what we write
MAX_SECRET_FILE_BYTES = 65_536  # a secret is a line, not a document
IN_A_FILE = "file"  # stands for a URL that a file holds, in processes that may not know it
NO_REDIS = "none"
LIBRARY_WORDS = "Value error, "  # pydantic writes them before the sentence of a check of ours
DATABASE_SCHEMES = ("postgresql://", "postgres://", "postgresql+asyncpg://")
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
LISTENERS_OF_THEIR_OWN = {
    ListenPort.FILES: "files_port"
}  # of a process that has more than LISTEN_PORT and METRICS_PORT


def check_target(text: str) -> str:
    """A target as gRPC takes it; empty as it is. Raises ValueError."""
    return parse_target(text) if text.strip() else ""


def check_database_url(url: str) -> str:
    """A URL of PostgreSQL, or a word that stands for one that this process may not know. Raises ValueError."""
    if url and url != IN_A_FILE and not url.startswith(DATABASE_SCHEMES):
        raise ValueError("give a URL that begins with postgresql://, or nothing for SQLite files under DATA_DIR")
    return url


def check_redis_url(url: str) -> str:
    """A URL of Redis, `none`, or a word that stands for a URL. Raises ValueError."""
    if url and url not in {NO_REDIS, IN_A_FILE} and not url.startswith(REDIS_SCHEMES):
        raise ValueError(
            "give a URL that begins with redis:// or rediss://, `none`, or nothing for the embedded Valkey"
        )
    return url


Target = Annotated[str, AfterValidator(check_target)]
WebUrl = Annotated[str, AfterValidator(lambda url: check_web_url(url) if url else url)]
ListeningPort = Annotated[int, Field(ge=1, le=65_535)]


def names_of(name: str, field: FieldInfo) -> list[str]:
    """The environment names that set a field, first choice first, in upper case."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
    return [str(choice).upper() for choice in choices]


class FileSource(PydanticBaseSettingsSource):
    """Lets every setting be given as NAME_FILE, the path of a file that holds the value."""

    def __init__(self, settings_cls: type[BaseSettings], names: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._paths = {name.upper(): path for name, path in names.items()}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the first NAME_FILE that is set; the path must be readable."""
        for name in names_of(field_name, field):
            if path := self._paths.get(f"{name}_FILE"):
                with Path(path).open(encoding="utf-8") as file:
                    return (
                        file.read(MAX_SECRET_FILE_BYTES).strip(),
                        name if field.validation_alias else field_name,
                        False,
                    )
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Collect the values of all fields that a file gives."""
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {name: value for value, name, _ in found if value is not None}


class CommonSettings(BaseSettings):
    """The settings that every process shares."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", env_ignore_empty=True, populate_by_name=True, frozen=True
    )

    port: int = Field(8080, ge=1, le=65_535)
    """The one public port, Envoy's."""
    internal_port_base: int = Field(50_050, ge=1024, le=65_000)
    """First of the internal ports of a whole stack, which follow from it unless the settings below say otherwise."""
    listen_host: IPvAnyAddress = IPv4Address(LOOPBACK)
    """The address at which a process listens for the others; `make up` keeps to 127.0.0.1."""
    listen_port: ListeningPort | None = None
    """Where a process that runs alone (`kawaii serve`) listens: by gRPC, the gateway and the sandbox by HTTP."""
    files_port: ListeningPort | None = None
    """Where storage serves files by HTTP when it runs alone."""
    metrics_port: ListeningPort | None = None
    """Where a process that runs alone serves /metrics, /livez and /readyz."""
    drain_seconds: Annotated[float, Field(ge=0, le=600)] | None = None
    """How long a process that is stopped goes on taking calls, until its callers have turned to other replicas. Empty:
    5, and 0.2 on loopback."""
    stop_grace_seconds: Annotated[float, Field(ge=0, le=3600)] | None = None
    """How long calls that run then may take to finish. Empty: 20, and 8 on loopback."""
    generation_target: Target = ""
    """Where generation is found: dns:///name:port, or host:port[,host:port…]; its replicas share the calls. Empty: on
    this machine, at the port that follows from INTERNAL_PORT_BASE."""
    storage_target: Target = ""
    """The same for storage."""
    share_target: Target = ""
    """The same for share."""
    community_target: Target = ""
    """The same for community."""
    data_dir: Path = Path("data")
    """Everything that must survive: databases, files, the sandbox's ledger."""
    app_url: WebUrl = Field("", validation_alias=AliasChoices("APP_URL", "NEXT_PUBLIC_APP_URL"))
    """Public origin of the site: share links and callback URLs begin with it."""
    storage_public_base_url: WebUrl = Field(
        "",
        validation_alias=AliasChoices(
            "STORAGE_PUBLIC_BASE_URL", "CLOUDFLARE_R2_AFTERIMAGE_PUBLIC_URL", "CLOUDFLARE_R2_PUBLIC_URL"
        ),
    )
    """Where the public reads stored files; APP_URL/files when empty."""
    database_url: Annotated[str, AfterValidator(check_database_url)] = ""
    """postgresql://… to scale out; SQLite files under DATA_DIR when empty."""
    database_connections: int = Field(default=8, ge=2, le=1000)
    """Connections that each process opens to PostgreSQL at most; two of them are kept for leases."""
    redis_url: Annotated[str, AfterValidator(check_redis_url)] = ""
    """Redis for derived state; the embedded Valkey when empty; `none` runs without."""
    internal_tls_cert: Path | None = None
    """PEM file with this process's certificate for mutual TLS between the processes; it names the process."""
    internal_tls_key: Path | None = None
    """PEM file with the certificate's key, which nobody else may read."""
    internal_tls_ca: Path | None = None
    """PEM file with the authority that signs the certificates of all processes."""
    internal_insecure: bool = False
    """1 lets a process listen beyond loopback without TLS, where the network itself keeps strangers out."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe line that is written."""
    log_format: Literal["", "text", "json"] = ""
    """text or json; text on a terminal, else json, when empty."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        given = {
            "INTERNAL_TLS_CERT": self.internal_tls_cert,
            "INTERNAL_TLS_KEY": self.internal_tls_key,
            "INTERNAL_TLS_CA": self.internal_tls_ca,
        }
        missing = [name for name, path in given.items() if path is None]
        if 0 < len(missing) < len(given):
            raise ValueError(
                f"{' and '.join(missing)} must be set too: TLS needs the certificate, its key and the authority"
            )
        return self

    @property
    def origin(self) -> str:
        """The public origin, without a trailing slash."""
        return (self.app_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def files_base_url(self) -> str:
        """Public URL under which object keys are found, without a trailing slash."""
        return (self.storage_public_base_url or f"{self.origin}/files").rstrip("/")

    @property
    def has_files_host(self) -> bool:
        """Whether stored files have an origin of their own, for example a bucket's."""
        return not f"{self.files_base_url}/".startswith(f"{self.origin}/")

    @property
    def files_base_urls(self) -> tuple[str, ...]:
        """Every public URL under which object keys are found, the present one first."""
        return tuple(dict.fromkeys((self.files_base_url, f"{self.origin}/files")))

    @property
    def effective_redis_url(self) -> str:
        """The Redis to use, or an empty string for none."""
        if self.redis_url == NO_REDIS:
            return ""
        return self.redis_url or f"redis://{self.address(ListenPort.VALKEY)}/0"

    def address(self, listener: ListenPort) -> str:
        """Host and port of a listener of a whole stack on this machine."""
        return address_of(listener, self.internal_port_base)

    def listens(self, listener: ListenPort) -> Address:
        """Where this process, which has the listener, listens."""
        given: int | None = getattr(self, setting_of(listener))
        return Address(str(self.listen_host), given or port_of(listener, self.internal_port_base))

    def target(self, service: str) -> str:
        """Where gRPC finds a service, by its name in lower case: a target as `parse_target` returns it."""
        given: str = getattr(self, f"{service}_target")
        return given or f"ipv4:{self.address(ListenPort[service.upper()])}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, the environment, .env; in each of the two NAME_FILE before NAME."""
        del file_secret_settings
        written = dotenv_settings.env_vars if isinstance(dotenv_settings, DotEnvSettingsSource) else {}
        environment, files = FileSource(settings_cls, os.environ), FileSource(settings_cls, written)
        return init_settings, environment, env_settings, files, dotenv_settings


def setting_of(listener: ListenPort) -> str:
    """The setting, in lower case, that moves a listener of a process that runs alone."""
    return "metrics_port" if listener.name.endswith("_METRICS") else LISTENERS_OF_THEIR_OWN.get(listener, "listen_port")


def require_addresses(settings: CommonSettings, listeners: Sequence[ListenPort], services: Sequence[str] = ()) -> None:
    """Refuse to start where one of our ports is taken, or the name of a service that we call does not exist.

    Raises:
        SystemExit: with code 78 and a sentence that names the setting.
    """
    for listener in listeners:
        address = settings.listens(listener)
        if reason := taken(address.host, address.port):
            setting = setting_of(listener).upper()
            refuse(f"{setting}: nothing can listen at {address}: {reason}. Choose another port or LISTEN_HOST.")
    for service in services:
        if host := unresolved(names_in(settings.target(service))):
            refuse(f"{service.upper()}_TARGET: there is no host {host}. Correct the name, or its DNS record.")


def problems(error: ValidationError) -> str:
    """Name every wrong setting on a line of its own, never with its value: it may be a secret."""
    found = error.errors(include_input=False)
    lines = (
        f"  {'.'.join(map(str, each['loc'])).upper()}: {each['msg'].removeprefix(LIBRARY_WORDS)}" for each in found
    )
    return "\n".join(["These settings are missing or wrong:", *lines])


def load(kind: type[S]) -> S:
    """Read the settings of a process, which from now on makes files that only its own user can read.

    Raises:
        SystemExit: with one message that names every problem.
    """
    os.umask(PRIVATE_UMASK)
    try:
        return kind()
    except ValidationError as error:
        refuse(problems(error))
    except OSError as error:
        refuse(f"A secret file cannot be read: {error.filename}: {error.strerror}")
    except UnicodeDecodeError:
        refuse("A secret file does not hold text in UTF-8.")


def refuse(message: str) -> NoReturn:
    """End the process as misconfigured, which tells the launcher that a restart will not help."""
    sys.stderr.write(f"{message}\n")
    raise SystemExit(EXIT_CONFIGURATION)
