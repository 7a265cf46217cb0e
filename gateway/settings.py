"""The gateway's knobs: who may call it from a browser, and how much it takes in."""

import re
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from services.chassis.settings import TownSettings

ORIGIN = re.compile(r"https?://[^\s/?#@]+")
ANY_ORIGIN = ("*",)


class GatewaySettings(TownSettings):
    """What the gateway reads from the environment."""

    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = ANY_ORIGIN
    """Origins whose pages may call us with credentials, comma separated; `*` lets every page call us without."""
    max_json_bytes: int = Field(1024 * 1024, ge=1024)
    """Largest JSON body; a longer one is refused before it is read."""
    max_upload_bytes: int = Field(10 * 1024 * 1024, ge=1024)
    """Largest picture that may be uploaded, this size included (contract.md A8)."""
    max_callback_bytes: int = Field(64 * 1024, ge=1024)
    """Largest webhook body; real ones are below 4 KiB (kie.md 2.4)."""
    max_watches: int = Field(500, ge=1, le=900)
    """Clients that may follow a task at once; each holds one of the 1000 calls that generation takes at a time."""
    heartbeat_seconds: float = Field(15.0, gt=0, le=50)
    """How long a stream of events may be silent; below the 60 s after which the edge takes it for dead."""

    @field_validator("cors_allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("cors_allowed_origins")
    @classmethod
    def _check(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if origins != ANY_ORIGIN and not all(map(ORIGIN.fullmatch, origins)):
            message = "give `*` alone, or origins such as https://example.com, without a path, comma separated"
            raise ValueError(message)
        return origins
