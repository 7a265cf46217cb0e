"""Settings of the sandbox process."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from services.chassis.addresses import ListenPort
from services.chassis.settings import CommonSettings
from services.sandbox.model import Rules


def split(value: object) -> object:
    """Splits a comma list, the form of a list in an environment variable."""
    return value.split(",") if isinstance(value, str) else value


Delays = Annotated[tuple[Annotated[float, Field(ge=0)], ...], NoDecode, BeforeValidator(split)]


class SandboxSettings(CommonSettings):
    """What an operator may set. The defaults are KIE's own behaviour, as far as it is known (docs/provider.md)."""

    sandbox_credits: Decimal = Field(Decimal(1000), ge=0, decimal_places=2)
    """Credits of an account when its key is first used."""
    sandbox_generation_seconds: float = Field(3.0, ge=0)
    """Seconds from a create to the task's end."""
    sandbox_result_ttl_seconds: float = Field(14 * 86_400, gt=0)
    """Seconds until a result's URL expires; KIE's pages disagree (docs/provider.md#retention)."""
    sandbox_upload_ttl_seconds: float = Field(86_400, gt=0)
    """Seconds until an uploaded file expires; the shorter of the two figures on KIE's pages."""
    sandbox_create_limit: int = Field(20, ge=1)
    """Creates that an account may send in one window; further ones are refused and not charged."""
    sandbox_create_window_seconds: float = Field(10.0, gt=0)
    """Length in seconds of the sliding window that SANDBOX_CREATE_LIMIT counts in; KIE's is ten seconds."""
    sandbox_read_limit: int = Field(3, ge=1)
    """Record reads a second for each task, as KIE allows."""
    sandbox_callback_retry_seconds: Delays = (2.0, 4.0, 8.0)
    """Seconds before each repetition of a callback, as a comma list; after the last one the callback is given up."""
    sandbox_image_side: int = Field(1024, ge=64, le=4096)
    """Pixels on a result's long side; small pictures make tests quick."""
    sandbox_base_url: str = ""
    """Where others find this process, which its URLs begin with. Empty: at the address where it listens."""
    kie_webhook_hmac_key: SecretStr = SecretStr("")
    """Signs callbacks when set; generation verifies them with the same variable."""

    @property
    def folder(self) -> Path:
        """Folder of the database and the files."""
        return self.data_dir / "sandbox"

    @property
    def rules(self) -> Rules:
        """The settings in the units of the code: milliseconds and decimals."""
        return Rules(
            base_url=self.sandbox_base_url.rstrip("/") or f"http://{self.listens(ListenPort.SANDBOX)}",
            credits=self.sandbox_credits,
            generation_ms=round(self.sandbox_generation_seconds * 1000),
            result_ttl_ms=round(self.sandbox_result_ttl_seconds * 1000),
            upload_ttl_ms=round(self.sandbox_upload_ttl_seconds * 1000),
            create_limit=self.sandbox_create_limit,
            create_window_ms=round(self.sandbox_create_window_seconds * 1000),
            read_limit=self.sandbox_read_limit,
            image_side=self.sandbox_image_side,
        )
