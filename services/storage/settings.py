"""The knobs of the storage service."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from services.chassis.settings import TownSettings

MIB = 1024 * 1024


class StorageSettings(TownSettings):
    """Where bytes go, how many, and how far the fetcher may reach."""

    storage_mode: Literal["local"] = "local"
    """Which backend keeps the bytes."""
    storage_dir: Path | None = None
    """Folder of the local backend; DATA_DIR/objects when empty. It must allow hard links."""
    max_upload_bytes: int = Field(10 * MIB, ge=1)
    """Largest file that a client may upload; contract.md 1.A8 says 10 MiB."""
    max_result_bytes: int = Field(30 * MIB, ge=1)
    """Largest picture that is copied from elsewhere; 4K PNGs stay below it."""
    outbound_allow_private: Annotated[frozenset[str], NoDecode] = frozenset()
    """host:port pairs, separated by commas, that the fetcher may reach on private addresses: sandboxes and tests."""
    fetch_connect_seconds: float = Field(5.0, gt=0)
    """How long one address may take to accept a connection."""
    fetch_read_seconds: float = Field(10.0, gt=0)
    """How long a server may stay silent."""
    fetch_total_seconds: float = Field(30.0, gt=0)
    """How long one fetch may take with its redirects; a server that trickles is cut off here."""
    fetch_connections: int = Field(16, ge=1)
    """Fetches at one time; the others wait within their own total time."""
    upload_link_seconds: int = Field(900, ge=1)
    """How long a client may take to use an upload link."""

    @property
    def objects_dir(self) -> Path:
        """The folder of the local backend."""
        return self.storage_dir or self.data_dir / "objects"

    @field_validator("outbound_allow_private", mode="before")
    @classmethod
    def split(cls, value: object) -> object:
        """Take the commas apart."""
        return frozenset(filter(None, map(str.strip, value.lower().split(",")))) if isinstance(value, str) else value

    @field_validator("outbound_allow_private")
    @classmethod
    def has_ports(cls, value: frozenset[str]) -> frozenset[str]:
        """Refuse an entry without a port: it would exempt nothing, silently."""
        if any(not entry.rpartition(":")[2].isdigit() for entry in value):
            raise ValueError("each entry must be host:port")
        return value
