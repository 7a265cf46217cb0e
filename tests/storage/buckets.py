"""Stacks whose bytes lie in a bucket of the S3 server that the tests run."""

import os
from typing import Any

import pytest
from pydantic import SecretStr

from services.storage.settings import StorageSettings
from tests.support.s3 import S3Server


def in_bucket(settings: StorageSettings, server: S3Server, **more: Any) -> StorageSettings:
    """The same stack with its bytes in a new bucket of a server."""
    bucket = {
        "storage_mode": "s3",
        "storage_s3_endpoint": server.endpoint,
        "storage_s3_bucket": server.create_bucket(),
        "storage_s3_access_key_id": SecretStr(server.access_key),
        "storage_s3_secret_access_key": SecretStr(server.secret_key),
    }
    return settings.model_copy(update=bucket | more)


def in_mode(mode: str, settings: StorageSettings, request: pytest.FixtureRequest, **more: Any) -> StorageSettings:
    """The same stack with its bytes in a backend, for which the test's server runs where it needs one."""
    if mode == "s3":
        return in_bucket(settings, request.getfixturevalue("s3_server"), **more)
    return settings.model_copy(update={"storage_mode": mode})


def environment_of(backend_settings: StorageSettings) -> dict[str, str]:
    """The environment of a process with these settings."""
    return os.environ | {
        "DATA_DIR": str(backend_settings.data_dir),
        "STORAGE_MODE": backend_settings.storage_mode,
        "STORAGE_SECOND_MODE": backend_settings.storage_second_mode,
        "STORAGE_S3_ENDPOINT": backend_settings.storage_s3_endpoint,
        "STORAGE_S3_BUCKET": backend_settings.storage_s3_bucket,
        "STORAGE_S3_ACCESS_KEY_ID": backend_settings.storage_s3_access_key_id.get_secret_value(),
        "STORAGE_S3_SECRET_ACCESS_KEY": backend_settings.storage_s3_secret_access_key.get_secret_value(),
        "STORAGE_S3_ATTEMPTS": str(backend_settings.storage_s3_attempts),
    }
