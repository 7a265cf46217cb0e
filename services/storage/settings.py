"""The settings of the storage service."""

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator

from services.chassis.outbound import Exempt
from services.chassis.signing_keys import SigningSettings

MIB = 1024 * 1024
GIB = 1024 * MIB
NO_SECRET = SecretStr("")
MIN_PART_BYTES = 5 * MIB  # S3 refuses smaller parts, but for the last
R2_ENDPOINT = "https://{account}.r2.cloudflarestorage.com"
# What opens each backend, by its mode; as paths, so that a process loads the libraries of those alone that it uses.
BACKENDS = {
    "local": "services.storage.backends.local:open_folder",
    "s3": "services.storage.backends.s3:open_bucket",  # boto3 costs 30 MB
}


class StorageSettings(SigningSettings):
    """Backends, limits, the fetcher and the decoder pool."""

    storage_mode: str = Field("local", min_length=1)
    """Where the bytes are kept: a folder of this machine, or a bucket of S3, R2 or any server with S3's API."""
    storage_second_mode: str = ""
    """A second backend: it stores new files while the first is down, and is read for files that the first lacks."""
    storage_dir: Path | None = None
    """Folder of the local backend; DATA_DIR/objects when empty. It must allow hard links."""
    cloudflare_r2_account_id: str = ""
    """Account of R2; gives the endpoint when STORAGE_S3_ENDPOINT is empty."""
    storage_s3_endpoint: str = ""
    """URL of the S3 server; Amazon's when empty."""
    storage_s3_region: str = ""
    """Region of the bucket; auto for R2 and us-east-1 elsewhere when empty."""
    storage_s3_bucket: str = Field(
        "", validate_default=True, validation_alias=AliasChoices("STORAGE_S3_BUCKET", "CLOUDFLARE_R2_BUCKET_NAME")
    )
    """The bucket; it must exist."""
    storage_s3_access_key_id: SecretStr = Field(
        NO_SECRET,
        validate_default=True,
        validation_alias=AliasChoices("STORAGE_S3_ACCESS_KEY_ID", "CLOUDFLARE_R2_ACCESS_KEY_ID"),
    )
    """Key that may read, write, delete and list in the bucket."""
    storage_s3_secret_access_key: SecretStr = Field(
        NO_SECRET,
        validate_default=True,
        validation_alias=AliasChoices("STORAGE_S3_SECRET_ACCESS_KEY", "CLOUDFLARE_R2_SECRET_ACCESS_KEY"),
    )
    """The key's secret."""
    storage_s3_direct_uploads: bool = True
    """Whether upload links lead straight to the bucket; 0 when browsers cannot reach its endpoint."""
    storage_s3_connections: int = Field(16, ge=1, le=256)
    """Requests to the bucket at one time; each has a thread and, in a multipart upload, a part in memory."""
    storage_s3_connect_seconds: float = Field(3.0, gt=0)
    """How long the bucket's server may take to accept a connection."""
    storage_s3_read_seconds: float = Field(10.0, gt=0)
    """How long the bucket's server may stay silent."""
    storage_s3_attempts: int = Field(3, ge=1, le=10)
    """How often a request to the bucket is sent before it counts as failed."""
    storage_s3_multipart_bytes: int = Field(32 * MIB, ge=1)
    """From this size on a file goes in parts, which not every server keeps from overwriting as it does whole files."""
    storage_s3_part_bytes: int = Field(8 * MIB, ge=MIN_PART_BYTES)
    """Size of each part but the last."""
    max_upload_bytes: int = Field(10 * MIB, ge=1)
    """Largest file that a client may upload; docs/rest.md#uploads says 10 MiB."""
    max_result_bytes: int = Field(30 * MIB, ge=1)
    """Largest picture that is copied from elsewhere; 4K PNGs stay below it."""
    outbound_allow_private: Exempt = frozenset()
    """host:port pairs, separated by commas, that the fetcher may reach on private addresses: sandboxes and tests."""
    fetch_connect_seconds: float = Field(5.0, gt=0)
    """How long one address may take to accept a connection."""
    fetch_read_seconds: float = Field(10.0, gt=0)
    """How long a server may stay silent."""
    fetch_total_seconds: float = Field(30.0, gt=0)
    """How long one fetch may take with its redirects; a server that trickles is cut off here."""
    fetch_connections: int = Field(16, ge=1)
    """Imports by clients at one time; the others wait within their own total time."""
    fetch_copy_connections: int = Field(16, ge=1)
    """Copies of results at one time; a budget of their own, so that imports never hold up a permanent copy."""
    upload_link_seconds: int = Field(900, ge=1)
    """How long a client may take to use an upload link."""
    variant_bytes_per_picture: int = Field(16 * MIB, ge=1)
    """Bytes of all variants of a picture; beyond them the oldest go, and are made anew for whoever wants them."""
    variants_max_bytes: int = Field(10 * GIB, ge=0)
    """Bytes of all variants together; beyond them the oldest go. 0 keeps as many as there is room for."""
    picture_workers: int = Field(2, ge=1, le=32)
    """Processes that decode pictures at one time; they start when needed and end when idle."""
    picture_result_workers: int = Field(1, ge=1, le=32)
    """Processes more that decode results only, so that pictures which clients send never hold up a permanent copy."""
    picture_queue: int = Field(64, ge=1)
    """Pictures that may wait for a worker, of clients and of results each; further ones are refused for the moment."""
    picture_memory_bytes: int = Field(1024 * MIB, ge=256 * MIB)
    """Address space of a worker; a picture that needs more is refused. 50 megapixels of WebP need 900 MiB."""
    picture_cpu_seconds: int = Field(5, ge=1)
    """Processor time of decoding one picture; one that needs more is refused."""
    picture_seconds: float = Field(10.0, gt=0)
    """How long decoding a picture may take on a busy machine; then it is refused for the moment."""
    picture_idle_seconds: float = Field(15.0, gt=0)
    """How long a worker without work is kept."""

    @property
    def objects_dir(self) -> Path:
        """The folder of the local backend."""
        return self.storage_dir or self.data_dir / "objects"

    @property
    def spool_dir(self) -> Path:
        """The folder where files wait on their way into a bucket."""
        return self.data_dir / "spool"

    @property
    def s3_endpoint(self) -> str | None:
        """Where the bucket's server is; None for Amazon's own."""
        account = self.cloudflare_r2_account_id
        return self.storage_s3_endpoint or (R2_ENDPOINT.format(account=account) if account else None)

    @property
    def s3_region(self) -> str:
        """The region that requests are signed for."""
        is_r2 = (self.s3_endpoint or "").endswith(R2_ENDPOINT.partition("}")[2])
        return self.storage_s3_region or ("auto" if is_r2 else "us-east-1")

    @field_validator("storage_s3_bucket", "storage_s3_access_key_id", "storage_s3_secret_access_key")
    @classmethod
    def is_given(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        """Report each missing setting of a bucket on a line of its own."""
        if not value and "s3" in (info.data.get("storage_mode"), info.data.get("storage_second_mode")):
            raise ValueError("needed when the bytes are to lie in a bucket (s3)")
        return value

    @field_validator("storage_mode", "storage_second_mode")
    @classmethod
    def is_known(cls, value: str) -> str:
        """Refuse a mode that no backend has."""
        if value and value not in BACKENDS:
            raise ValueError(f"must be one of: {', '.join(BACKENDS)}")
        return value

    @field_validator("storage_second_mode")
    @classmethod
    def is_another(cls, value: str, info: ValidationInfo) -> str:
        """Refuse a second backend that is the first."""
        if value and value == info.data.get("storage_mode"):
            raise ValueError("must be another backend than STORAGE_MODE")
        return value
