"""The stand-in's knobs."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from services.chassis.settings import TownSettings
from services.chassis.town import Resident
from services.sandbox.model import Rules


def split(value: object) -> object:
    """Read a comma list, which is how a list is written in an environment."""
    return value.split(",") if isinstance(value, str) else value


Spacing = Annotated[tuple[Annotated[float, Field(ge=0)], ...], NoDecode, BeforeValidator(split)]


class SandboxSettings(TownSettings):
    """What a person may turn; all of it is also KIE's behaviour as kie.md knows it."""

    sandbox_credits: Decimal = Field(Decimal(1000), ge=0, decimal_places=2)
    """What an account holds when it is first seen."""
    sandbox_generation_seconds: float = Field(3.0, ge=0)
    """How long a picture takes."""
    sandbox_result_ttl_seconds: float = Field(14 * 86_400, gt=0)
    """How long a result's URL lives; KIE says 14 days on one page and 24 hours on another (kie.md 5.5)."""
    sandbox_upload_ttl_seconds: float = Field(86_400, gt=0)
    """How long an uploaded file lives; the cautious one of KIE's two figures (kie.md 5.3)."""
    sandbox_create_limit: int = Field(20, ge=1)
    """New tasks an account may ask for in a window; more are refused and not charged (kie.md 5.4)."""
    sandbox_create_window_seconds: float = Field(10.0, gt=0)
    """Length of that window, which slides; KIE's is ten seconds."""
    sandbox_read_limit: int = Field(3, ge=1)
    """Record reads a second for each task (kie.md 2.2)."""
    sandbox_callback_retry_seconds: Spacing = (2.0, 4.0, 8.0)
    """Waits before each repeated callback, as a comma list; after the last one the callback is given up."""
    sandbox_image_side: int = Field(1024, ge=64, le=4096)
    """Pixels on a picture's long side; small ones make tests quick."""
    kie_webhook_hmac_key: SecretStr = SecretStr("")
    """Signs callbacks when set; kawaii checks them with the same variable."""

    @property
    def listen_port(self) -> int:
        """The port this process listens on."""
        return self.internal_port_base + Resident.SANDBOX

    @property
    def folder(self) -> Path:
        """Where everything of the stand-in lies."""
        return self.data_dir / "sandbox"

    @property
    def rules(self) -> Rules:
        """The settings as the business takes them."""
        return Rules(
            base_url=f"http://{self.address(Resident.SANDBOX)}",
            credits=self.sandbox_credits,
            generation_ms=round(self.sandbox_generation_seconds * 1000),
            result_ttl_ms=round(self.sandbox_result_ttl_seconds * 1000),
            upload_ttl_ms=round(self.sandbox_upload_ttl_seconds * 1000),
            create_limit=self.sandbox_create_limit,
            create_window_ms=round(self.sandbox_create_window_seconds * 1000),
            read_limit=self.sandbox_read_limit,
            image_side=self.sandbox_image_side,
        )
