"""Towns whose bytes lie in a bucket of the S3 server that the tests run."""

import os
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


def environment_of(place: StorageSettings) -> dict[str, str]:
    """The settings of a place as a process reads them."""
    return os.environ | {
        "DATA_DIR": str(place.data_dir),
        "STORAGE_MODE": place.storage_mode,
        "STORAGE_SECOND_MODE": place.storage_second_mode,
        "STORAGE_S3_ENDPOINT": place.storage_s3_endpoint,
        "STORAGE_S3_BUCKET": place.storage_s3_bucket,
        "STORAGE_S3_ACCESS_KEY_ID": place.storage_s3_access_key_id.get_secret_value(),
        "STORAGE_S3_SECRET_ACCESS_KEY": place.storage_s3_secret_access_key.get_secret_value(),
        "STORAGE_S3_ATTEMPTS": str(place.storage_s3_attempts),
    }
