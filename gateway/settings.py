"""The gateway's settings: origins, limits, caches and what it serves."""

from pydantic import Field, SecretStr, field_validator

from gateway.auth.settings import IdentitySettings
from services.chassis.origins import ANY_ORIGIN, Origins

LEAST_TOKEN = 16  # characters; a random one of these cannot be found by trying


class GatewaySettings(IdentitySettings):
    """What the gateway reads from the environment."""

    cors_allowed_origins: Origins = ANY_ORIGIN
    """Origins whose pages may call us with credentials, comma separated; `*` lets every page call us without."""
    debug_env_enabled: bool = False
    """Whether /api/debug-env answers; it says yes or no about the configuration, never a value."""
    export_token: SecretStr = SecretStr("")
    """Whoever sends it as a bearer token may read every record, prompts included, at /api/export; without one the route
    is off. At least 16 characters."""
    max_json_bytes: int = Field(1024 * 1024, ge=1024)
    """Largest JSON body; a longer one is refused before it is read."""
    max_large_orders: int = Field(8, ge=1, le=100)
    """Orders at one time whose pictures, given as data: URIs, make them larger; each may take 40 MB of memory."""
    max_large_orders_per_client: int = Field(4, ge=1, le=100)
    """How many of them one client address may have."""
    max_upload_bytes: int = Field(10 * 1024 * 1024, ge=1024)
    """Largest picture that may be uploaded, this size included (docs/rest.md#uploads)."""
    max_callback_bytes: int = Field(64 * 1024, ge=1024)
    """Largest webhook body; real ones are below 4 KiB."""
    read_cache_seconds: float = Field(1.0, ge=0, le=2)
    """How long the gateway serves a share, a list or the latest from its cache; 0 reads each time. Changes that are
    announced end it at once; this is the bound when Redis is away, so it is short."""
    read_cache_bytes: int = Field(32 * 1024 * 1024, ge=0)
    """How much memory these answers may take."""
    sitemap_cache_seconds: float = Field(60, ge=0, le=86_400)
    """How long the gateway gives a file of the sitemap, of up to 50,000 shares, again; 0 makes it anew each time."""
    max_watches: int = Field(500, ge=1, le=900)
    """Clients that may follow a task at once; each holds one of the 1000 streams that generation serves at a time."""
    max_watches_per_client: int = Field(100, ge=1, le=900)
    """How many of them one client address may hold; a household behind one address has a few tabs each."""
    max_requests_per_client: int = Field(128, ge=1, le=4096)
    """Plain requests, and apart from these pictures, that one client address may have under way; Envoy takes 256 and
    512 for all. A page by HTTP/2 asks for a hundred at once."""
    rate_limits_enabled: bool = True
    """Whether token buckets bound how often one client address may order, upload, import and share; 0 for load tests.
    The community's routes, whose people are signed in, have the daily quota and credits instead."""
    rate_limit_orders_per_minute: int = Field(60, ge=1, le=1_000_000)
    """Orders of one client address that its bucket gains in a minute."""
    rate_limit_orders_burst: int = Field(150, ge=1, le=1_000_000)
    """How many of them it holds: a page that orders a hundred at once is not bounded."""
    rate_limit_uploads_per_minute: int = Field(60, ge=1, le=1_000_000)
    """The same for POST /api/upload-image."""
    rate_limit_uploads_burst: int = Field(150, ge=1, le=1_000_000)
    """The same for POST /api/upload-image."""
    rate_limit_imports_per_minute: int = Field(60, ge=1, le=1_000_000)
    """The same for POST /api/download-and-upload."""
    rate_limit_imports_burst: int = Field(150, ge=1, le=1_000_000)
    """The same for POST /api/download-and-upload."""
    rate_limit_shares_per_minute: int = Field(60, ge=1, le=1_000_000)
    """The same for POST /api/share."""
    rate_limit_shares_burst: int = Field(150, ge=1, le=1_000_000)
    """The same for POST /api/share."""
    heartbeat_seconds: float = Field(15.0, gt=0, le=50)
    """How long a stream of events may be silent; below the 60 s after which the edge takes it for dead."""

    @property
    def rate_limits(self) -> dict[str, tuple[int, int]]:
        """What a minute brings and what a bucket holds, by the plural of what it bounds; empty where limits are off."""
        if not self.rate_limits_enabled:
            return {}
        return {
            "orders": (self.rate_limit_orders_per_minute, self.rate_limit_orders_burst),
            "uploads": (self.rate_limit_uploads_per_minute, self.rate_limit_uploads_burst),
            "imports": (self.rate_limit_imports_per_minute, self.rate_limit_imports_burst),
            "shares": (self.rate_limit_shares_per_minute, self.rate_limit_shares_burst),
        }

    @field_validator("export_token")
    @classmethod
    def is_hard_to_guess(cls, value: SecretStr) -> SecretStr:
        """Refuse a token that can be tried out."""
        if 0 < len(value.get_secret_value()) < LEAST_TOKEN:
            raise ValueError(f"must have at least {LEAST_TOKEN} characters")
        return value
