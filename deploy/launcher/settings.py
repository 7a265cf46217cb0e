"""The settings of the launcher and of Envoy; decides on the sandbox, development identity and the public address."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, BeforeValidator, Field, IPvAnyAddress, SecretStr, model_validator
from pydantic_settings import NoDecode

from services.chassis.addresses import LOOPBACK, Address, ListenPort, parse_upstreams
from services.chassis.origins import ANY_ORIGIN, Origins
from services.chassis.settings import CommonSettings
from services.generation.quota import is_billed, meaning, site_orders

SANDBOX_KEY = "sandbox-key"
LOOPBACK_ADDRESS, EVERY_ADDRESS = IPv4Address("127.0.0.1"), IPv4Address(0)
SERVICES = ("GENERATION", "STORAGE", "SHARE", "COMMUNITY")  # which others call by gRPC
OFF = frozenset({"0", "false", "no", "off", "n", "f"})  # what pydantic reads as no
KIE_KEY_NAMES = ("KIE_AI_API_KEY", "KIE_API_KEY", *(f"KIE_AI_API_KEY_{number}" for number in range(2, 6)))


def read_upstreams(value: object) -> object:
    """The addresses of a list in text. Raises ValueError."""
    return parse_upstreams(value) if isinstance(value, str) else value


Upstreams = Annotated[tuple[Address, ...], NoDecode, BeforeValidator(read_upstreams)]


class LauncherSettings(CommonSettings):
    """What `make up` reads besides the settings that every process shares."""

    bind_address: IPvAnyAddress | None = None
    """Where the public port listens. Unset: 127.0.0.1 while development identity is on, else all addresses (0.0.0.0).
    An address beyond loopback turns development identity off."""
    cors_allowed_origins: Origins = ANY_ORIGIN
    """Origins whose pages may read what Envoy answers itself, as the gateway has it."""
    gateway_upstream: Upstreams = ()
    """Where Envoy finds the gateway: host:port[,host:port…], each a DNS name, whose addresses are all used, or an IP
    address. Empty: on this machine."""
    files_upstream: Upstreams = ()
    """Where Envoy finds storage's FILES_PORT, in the same form."""
    public_tls_cert: Path | None = None
    """PEM file with the certificate of the site and its chain: Envoy serves HTTPS on PORT with it, and sends plain HTTP
    there. Read again when it is replaced."""
    public_tls_key: Path | None = None
    """PEM file with the certificate's key, which nobody else may read."""
    public_http_port: int | None = Field(None, ge=1, le=65_535)
    """Where visitors who come by plain HTTP are sent to HTTPS, usually 80; nowhere but on PORT itself when empty."""
    trusted_hops: int = Field(0, ge=0, le=10)
    """How many proxies before us write X-Forwarded-For; too many lets clients forge their address."""
    envoy_concurrency: int = Field(1, ge=1, le=64)
    """Envoy's worker threads; one carries 45,000 requests a second, so more only costs memory on a small machine."""
    edge_timeout_seconds: float = Field(15.0, gt=0, le=600)
    """How long a plain request may take before Envoy answers 504; uploads and streams have their own bounds."""
    envoy_max_connections: int = Field(65_536, ge=64, le=1_000_000)
    """Connections of clients that Envoy keeps at one time, within what the system lets one process open; one that is
    not used closes after 15 s. More than a few addresses can open: they would keep all others out."""
    envoy_max_heap_bytes: int = Field(512 * 1024 * 1024, ge=64 * 1024 * 1024)
    """Memory of Envoy, in which bodies wait until they are whole: near it the streams that hold most are cut off."""
    max_json_bytes: int = Field(1024 * 1024, ge=1024)
    """Largest JSON body, as the gateway has it; Envoy gathers bodies up to this size."""
    max_callback_bytes: int = Field(64 * 1024, ge=1024)
    """Largest webhook body, as the gateway has it."""
    kie_key: SecretStr = Field(SecretStr(""), validation_alias=AliasChoices(*KIE_KEY_NAMES))
    """Any key of the pool; without one the sandbox stands in for KIE and nothing is billed."""
    kie_ai_base_url: str = "https://api.kie.ai"
    """The provider's address; the sandbox's when there is no key."""
    outbound_allow_private: str = ""
    """Comma list of host:port that our fetcher may reach although they are private addresses."""
    auth_jwks_url: str = ""
    """Where the public keys of the identity provider are."""
    auth_issuer: str = ""
    """The issuer that tokens must name."""
    auth_audience: str = ""
    """The audience that tokens must name."""
    auth_hs256_secret: SecretStr = SecretStr("")
    """A shared secret that signs tokens, instead of public keys."""
    auth_dev_mode: str = ""
    """Development identity: everybody is one developer. Unset or 1, it is on where no sign-in is configured, the
    sandbox is the upstream and the public port listens on loopback; 0 turns it off everywhere."""

    generation_daily_quota: int = Field(0, ge=0)
    """Orders a day of one address or person, as generation has it."""
    site_daily_orders: int | None = Field(None, ge=0)
    """Orders a day of all together, as generation has it."""

    @model_validator(mode="after")
    def _public_tls_is_whole(self) -> Self:
        given = {"PUBLIC_TLS_CERT": self.public_tls_cert, "PUBLIC_TLS_KEY": self.public_tls_key}
        missing = [name for name, path in given.items() if path is None]
        if len(missing) == 1:
            raise ValueError(f"{missing[0]} must be set too: HTTPS needs a certificate and its key")
        if self.app_url.startswith("http://") and not missing:
            raise ValueError("APP_URL begins with http://, but PUBLIC_TLS_CERT makes the site HTTPS: correct APP_URL")
        if self.public_http_port and missing:
            raise ValueError("PUBLIC_HTTP_PORT sends visitors to HTTPS, which PUBLIC_TLS_CERT and PUBLIC_TLS_KEY make")
        if self.public_http_port == self.port:
            raise ValueError("PUBLIC_HTTP_PORT and PORT are the same, where plain HTTP is sent to HTTPS anyway")
        return self

    @property
    def origin(self) -> str:
        """The public origin, without a trailing slash."""
        return super().origin if self.app_url or not self.public_tls_cert else f"https://localhost:{self.port}"

    @property
    def sandboxed(self) -> bool:
        """Whether the sandbox stands in for the provider."""
        return not self.kie_key.get_secret_value()

    @property
    def has_sign_in(self) -> bool:
        """Whether anything of a real sign-in is configured."""
        secret = self.auth_hs256_secret.get_secret_value()
        return any((self.auth_jwks_url, self.auth_issuer, self.auth_audience, secret))

    @property
    def identity_refusal(self) -> str:
        """Why development identity is off; empty while it is on."""
        reasons = {
            "sign-in is configured": self.has_sign_in,
            "AUTH_DEV_MODE turns it off": self.auth_dev_mode.strip().lower() in OFF,
            "pictures are made by the real provider": not self.sandboxed,
            f"BIND_ADDRESS={self.bind_address} is reached from other machines": bool(
                self.bind_address and not self.bind_address.is_loopback
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    @property
    def development(self) -> bool:
        """Whether everybody is one developer."""
        return not self.identity_refusal

    @property
    def public_address(self) -> IPv4Address | IPv6Address:
        """Where the public port listens."""
        return self.bind_address or (LOOPBACK_ADDRESS if self.development else EVERY_ADDRESS)

    @property
    def probe_host(self) -> str:
        """The address at which this machine reaches the public port."""
        bound = self.public_address
        loopback = "::1" if bound.version == 6 else "127.0.0.1"  # noqa: PLR2004 - the name of a protocol
        return loopback if bound.is_unspecified else str(bound)

    @property
    def listening(self) -> str:
        """Where the public port listens and why, in words for the start."""
        if self.bind_address:
            return f"{self.public_address}, as BIND_ADDRESS says"
        if self.development:
            return f"{self.public_address} (this machine only, because development identity is on; see BIND_ADDRESS)"
        return f"{self.public_address} (every address, because {self.identity_refusal}; see BIND_ADDRESS)"

    @property
    def identity(self) -> str:
        """Who people are here, in words for the start."""
        if self.development:
            return "development: whoever uses this machine is one and the same developer"
        if self.has_sign_in:
            return "sign-in by tokens, as AUTH_… configures it"
        return (
            f"nobody can sign in: development identity is off, because {self.identity_refusal}. "
            "Set AUTH_HS256_SECRET, or AUTH_JWKS_URL with AUTH_ISSUER and AUTH_AUDIENCE"
        )

    @property
    def is_open(self) -> bool:
        """Whether strangers may order with a real key as often as they like."""
        return is_billed([self.kie_key.get_secret_value()]) and not (self.generation_daily_quota or self.has_sign_in)

    @property
    def orders(self) -> str:
        """How many orders a day are taken, in words for the start; empty where that costs nobody anything."""
        most = site_orders(self.site_daily_orders, is_open=self.is_open)
        if self.is_open:
            return meaning(most)
        return f"at most {most} a day from all together (SITE_DAILY_ORDERS)" if most else ""

    def overrides(self) -> dict[str, str]:
        """The variables that this configuration sets for its processes, whatever .env says."""
        development = {"AUTH_DEV_MODE": "1" if self.development else "0"}
        sign_in = {"SIGN_IN_CONFIGURED": "1" if self.has_sign_in else "0"}
        origin = {"APP_URL": self.origin} if self.public_tls_cert else {}
        return {**(self._sandbox() if self.sandboxed else {}), **development, **sign_in, **origin, **self._addresses()}

    def _addresses(self) -> dict[str, str]:
        """Where the processes of a whole stack listen and find each other: on this machine alone."""
        targets = {f"{service}_TARGET": self.address(ListenPort[service]) for service in SERVICES}
        return {"LISTEN_HOST": LOOPBACK, **targets}

    def _sandbox(self) -> dict[str, str]:
        sandbox = self.address(ListenPort.SANDBOX)
        return {
            "KIE_AI_BASE_URL": f"http://{sandbox}",
            "KIE_AI_API_KEY": SANDBOX_KEY,
            "OUTBOUND_ALLOW_PRIVATE": ",".join(filter(None, (self.outbound_allow_private, sandbox))),
        }
