"""The settings of authentication: whose tokens are accepted, and whether users may sign in here."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.chassis.names import host_of
from services.chassis.settings import CommonSettings

MIN_SECRET_BYTES = 32  # RFC 7518 3.2: a key of at least the hash's size
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"  # developers.google.com/identity/openid-connect


class IdentitySettings(CommonSettings):
    """Which tokens are accepted. Without any everybody is anonymous."""

    auth_jwks_url: str = ""
    """Where the sign-in service publishes its keys; needs AUTH_ISSUER and AUTH_AUDIENCE."""
    auth_issuer: str = ""
    """The `iss` that tokens must carry."""
    auth_audience: str = ""
    """The `aud` that tokens must carry."""
    auth_hs256_secret: SecretStr = SecretStr("")
    """A secret shared with the sign-in service, at least 32 bytes; it also signs the tokens of POST /api/auth/login."""
    auth_google_client_id: str = ""
    """The OAuth client whose Google tokens POST /api/auth/login takes; needs AUTH_HS256_SECRET. Empty: no login."""
    auth_google_jwks_url: str = GOOGLE_KEYS
    """Where Google publishes its keys; another place for tests."""
    auth_token_seconds: int = Field(86_400, ge=60)
    """How long a token of POST /api/auth/login is good."""
    auth_dev_mode: bool = False
    """Everybody is the same developer. For a machine of one's own; refused beside any real identity."""

    @property
    def has_identity(self) -> bool:
        """Whether any real tokens are accepted."""
        return bool(self.auth_jwks_url or self.auth_hs256_secret.get_secret_value())

    @model_validator(mode="after")
    def _complete(self) -> Self:
        secret = self.auth_hs256_secret.get_secret_value().encode()
        wrong = {
            "AUTH_JWKS_URL needs AUTH_ISSUER and AUTH_AUDIENCE": self.auth_jwks_url
            and not (self.auth_issuer and self.auth_audience),
            "AUTH_JWKS_URL must be an http(s) URL": self.auth_jwks_url and not host_of(self.auth_jwks_url),
            f"AUTH_HS256_SECRET must have at least {MIN_SECRET_BYTES} bytes": 0 < len(secret) < MIN_SECRET_BYTES,
            "AUTH_GOOGLE_CLIENT_ID needs AUTH_HS256_SECRET, which signs our tokens": self.auth_google_client_id
            and not secret,
            "AUTH_DEV_MODE must not be set beside AUTH_JWKS_URL or AUTH_HS256_SECRET": self.auth_dev_mode
            and self.has_identity,
        }
        if problems := [sentence for sentence, present in wrong.items() if present]:
            raise ValueError("; ".join(problems))
        return self
