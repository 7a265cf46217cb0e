"""The knobs of the launcher and of Envoy, and what decides whether the sandbox stands in for the provider."""

from ipaddress import IPv4Address

from pydantic import AliasChoices, Field, IPvAnyAddress, SecretStr

from services.chassis.origins import ANY_ORIGIN, Origins
from services.chassis.settings import TownSettings
from services.chassis.town import Resident

SANDBOX_KEY = "sandbox-key"
KIE_KEY_NAMES = ("KIE_AI_API_KEY", "KIE_API_KEY", *(f"KIE_AI_API_KEY_{number}" for number in range(2, 6)))


class LauncherSettings(TownSettings):
    """What `make up` reads besides the knobs that every process shares."""

    bind_address: IPvAnyAddress = IPv4Address("0.0.0.0")  # noqa: S104 - Envoy is the public door; the rest is on loopback
    """Where the public port listens; 127.0.0.1 hides the town from the network."""
    cors_allowed_origins: Origins = ANY_ORIGIN
    """Origins whose pages may read what Envoy answers itself, as the gateway has it."""
    trusted_hops: int = Field(0, ge=0, le=10)
    """How many proxies before us write X-Forwarded-For; too many lets clients forge their address."""
    envoy_concurrency: int = Field(1, ge=1, le=64)
    """Envoy's worker threads; one carries 45,000 requests a second, so more only costs memory on a small machine."""
    edge_timeout_seconds: float = Field(15.0, gt=0, le=600)
    """How long a plain request may take before Envoy answers 504; uploads and streams have their own bounds."""
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
    """1 makes everybody one developer; only meant for a town on one's own machine."""

    @property
    def sandboxed(self) -> bool:
        """Whether the sandbox stands in for the provider."""
        return not self.kie_key.get_secret_value()

    @property
    def anonymous(self) -> bool:
        """Whether no identity is configured at all."""
        secret = self.auth_hs256_secret.get_secret_value()
        return not any((self.auth_jwks_url, self.auth_issuer, self.auth_audience, secret, self.auth_dev_mode))

    @property
    def probe_host(self) -> str:
        """The address at which this machine reaches the public port."""
        loopback = "::1" if self.bind_address.version == 6 else "127.0.0.1"  # noqa: PLR2004 - the name of a protocol
        return loopback if self.bind_address.is_unspecified else str(self.bind_address)

    def overrides(self) -> dict[str, str]:
        """The variables that a town without keys and without identity adds for its processes."""
        return {**(self._sandbox() if self.sandboxed else {}), **({"AUTH_DEV_MODE": "1"} if self.anonymous else {})}

    def _sandbox(self) -> dict[str, str]:
        sandbox = self.address(Resident.SANDBOX)
        return {
            "KIE_AI_BASE_URL": f"http://{sandbox}",
            "KIE_AI_API_KEY": SANDBOX_KEY,
            "OUTBOUND_ALLOW_PRIVATE": ",".join(filter(None, (self.outbound_allow_private, sandbox))),
        }
