"""What tests of the gateway share: addresses, a moment, and the body of a failure."""

from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import FailedPrecondition

ORIGIN = "https://site.test"
FILES = f"{ORIGIN}/files"
TIME = Timestamp(seconds=1_793_865_600)  # 2026-11-05T08:00:00Z
MILLISECONDS, ISO = 1_793_865_600_000, "2026-11-05T08:00:00.000Z"
PNG = b"\x89PNG\r\n\x1a\n"
REFUSED = FailedPrecondition("The provider refused this prompt. Change it.", "PROVIDER_REJECTED")


def failure(code: str, message: str) -> dict[str, object]:
    """The body of a failure, which both front-end families can read."""
    return {"success": False, "error": message, "code": code, "message": message}
