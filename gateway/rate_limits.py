"""The headers that tell a client how much of a quota is left (draft-ietf-httpapi-ratelimit-headers-11)."""

import math
import time

from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.errors import KawaiiError

POLICY = '"day"'
WINDOW_SECONDS = 86_400
LIMIT = "quota_limit"  # where an error's metadata says which quota is used up


def headers(limit: int, remaining: int, reset_seconds: float) -> dict[str, str]:
    """The standard's two headers, and the three that clients knew before; their reset is a Unix time."""
    reset = max(1, math.ceil(reset_seconds))
    return {
        "RateLimit-Policy": f"{POLICY};q={limit};w={WINDOW_SECONDS}",
        "RateLimit": f"{POLICY};r={remaining};t={reset}",
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(time.time()) + reset),
    }


def of_order(generation: generationpb.Generation) -> dict[str, str]:
    """Those of an order that was counted; none for any other."""
    if not generation.HasField("quota"):
        return {}
    quota = generation.quota
    return headers(quota.limit, quota.remaining, quota.reset_delay.ToMilliseconds() / 1000)


def of_refusal(error: KawaiiError) -> dict[str, str]:
    """Those of an order that was one too many; none for any other error."""
    limit = error.metadata.get(LIMIT, "")
    return headers(int(limit), 0, error.retry_after or 0) if limit.isdecimal() else {}
