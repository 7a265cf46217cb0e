"""Translates the errors of the S3 client into the chassis' errors and counts failures by cause and access key."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client import Counter

from services.chassis.errors import KawaiiError
from services.storage.backends.tree import down, full

FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull"})
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
REFUSED_SECONDS = 30.0  # rights do not come back by themselves; an operator has to act
FAILURES = Counter(
    "kawaii_object_backend_failures_total",
    "Requests to the bucket that failed for good; refused names the key by its fingerprint.",
    ("cause", "key"),
)

logger = structlog.get_logger()


def status_of(error: ClientError) -> int:
    """The HTTP status of an answer that is an error."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: ClientError) -> str:
    """The error code that S3 gave."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(fingerprint: str) -> Iterator[None]:
    """Translate errors of the client. The log names the access key by its fingerprint only."""
    try:
        yield
    except ClientError as error:
        raise _failure(error, fingerprint) from error
    except (BotoCoreError, OSError) as error:
        FAILURES.labels("unreachable", fingerprint).inc()
        logger.warning("bucket_unreachable", cause=type(error).__name__)
        raise down() from error


def _failure(error: ClientError, fingerprint: str) -> KawaiiError:
    code, status = code_of(error), status_of(error)
    if code in FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
        FAILURES.labels("full", fingerprint).inc()
        return full()
    cause = "refused" if status in REFUSED else "failed"
    FAILURES.labels(cause, fingerprint).inc()
    logger.error("bucket_error", cause=cause, code=code, status=status, key=fingerprint, operation=error.operation_name)
    return down(REFUSED_SECONDS) if cause == "refused" else down()
