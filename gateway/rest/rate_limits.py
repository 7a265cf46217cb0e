"""Bounds how often an address may use a route, and tells clients how much of a bucket or of the daily quota is left.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11.
"""

import math
import time
from typing import cast

from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.requests import Request
from starlette.responses import Response

from gateway.rest import client_address, token_buckets
from gateway.rest.routing import Endpoint
from gateway.rest.token_buckets import RateLimits
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


def of_order(placed: generationpb.Generation | artworkspb.Artwork) -> dict[str, str]:
    """Those of an order that was counted; none for any other."""
    if not placed.HasField("quota"):
        return {}
    quota = placed.quota
    return headers(quota.limit, quota.remaining, quota.reset_delay.ToMilliseconds() / 1000)


def of_refusal(error: KawaiiError) -> dict[str, str]:
    """Those of an order, or of whatever a bucket bounds, that was one too many; none for any other error."""
    if policy := error.metadata.get(token_buckets.POLICY):
        return {"RateLimit-Policy": policy, "RateLimit": error.metadata.get(token_buckets.STATE, "")}
    limit = error.metadata.get(LIMIT, "")
    return headers(int(limit), 0, error.retry_after or 0) if limit.isdecimal() else {}


def limited(name: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint, as often as the bucket of this name lets a client's address use it."""

    async def bounded(request: Request) -> Response:
        limits = cast("RateLimits", request.app.state.rate_limits)
        verdict = await limits.take(name, client_address.address_of(request))
        response = await endpoint(request)
        for header, value in (verdict.headers if verdict else {}).items():
            day = response.headers.get(header)  # an order may have told of its daily quota: both are one list
            response.headers[header] = f"{day}, {value}" if day else value
        return response

    return bounded
