"""Towns whose bytes lie in a bucket of the S3 server that the tests run."""

from typing import Any

from pydantic import SecretStr

from services.storage.settings import StorageSettings
from tests.s3_engine import S3Server


def in_bucket(settings: StorageSettings, server: S3Server, **more: Any) -> StorageSettings:
    """The same town with its bytes in a new bucket of a server."""
    bucket = {
        "storage_mode": "s3",
        "storage_s3_endpoint": server.endpoint,
        "storage_s3_bucket": server.create_bucket(),
        "storage_s3_access_key_id": SecretStr(server.access_key),
        "storage_s3_secret_access_key": SecretStr(server.secret_key),
    }
    return settings.model_copy(update=bucket | more)
