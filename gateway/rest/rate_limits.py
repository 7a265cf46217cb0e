"""Bounds how often one client address may do what costs the site something, by token buckets, and says what is left.

A bucket holds `burst` tokens, an action takes one, and `per_minute` come back. One number is kept of each bucket: when
it will be full again (the generic cell rate algorithm). All replicas count in Redis; without Redis each process counts
for itself, in bounded memory. Answers tell the state of a bucket, and of the daily quota that generation counts, in the
headers of draft-ietf-httpapi-ratelimit-headers-11. Also says for whom that quota counts an order.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, TypeAlias, cast

import structlog
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.generation.v1 import generation_pb2 as generationpb
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.authenticator import DEVELOPER, of
from gateway.rest.responses import Endpoint
from services.chassis.client_address import client_of_scope
from services.chassis.errors import KawaiiError, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable

Placed: TypeAlias = (
    generationpb.CreateGenerationResponse | artworkspb.CreateArtworkResponse | artworkspb.RegenerateArtworkResponse
)
MICROSECONDS = 1_000_000
MINUTE = 60 * MICROSECONDS
BUDGET_SECONDS = 0.1  # an order waits no longer for Redis than a cached read does
RETRY_SECONDS = 1.0  # after a failure Redis is left alone for so long
MAX_BUCKETS = 50_000  # of one process, some 10 MB; beyond them the bucket used longest ago is taken for a full one
PREFIX = "kawaii:bucket:"
POLICY_KEY, STATE_KEY = "ratelimit_policy", "ratelimit"  # where a refusal's metadata keeps its two headers

# One round trip, atomic, by Redis' clock. What a key holds that is no time of ours is taken for a full bucket.
TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local step, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('GET', KEYS[1])
local full = kept and tonumber(kept) or now
if full < now or full > now + window then full = now end
if full + step > now + window then return {0, full - now} end
redis.call('SET', KEYS[1], string.format('%.0f', full + step), 'PX', math.ceil((full + step - now) / 1000))
return {1, full + step - now}
"""

logger = structlog.get_logger()

DAY = '"day"'
WINDOW_SECONDS = 86_400
LIMIT = "quota_limit"  # where an error's metadata says which quota is used up


@dataclass(frozen=True)
class Policy:
    """How large a bucket is, and how fast it fills; `what` is the plural of what takes its tokens."""

    what: str
    per_minute: int
    burst: int

    @property
    def step(self) -> int:
        """Microseconds until one token comes back."""
        return max(1, MINUTE // self.per_minute)

    @property
    def window(self) -> int:
        """Microseconds in which an empty bucket is full again."""
        return self.step * self.burst

    def verdict(self, to_full: int, *, taken: bool) -> "Verdict":
        """The verdict of a bucket that is full again in so many microseconds."""
        wait = 0 if taken else max(0, to_full + self.step - self.window)
        return Verdict(self, taken, (self.window - to_full) // self.step if taken else 0, to_full, wait)


@dataclass(frozen=True)
class Verdict:
    """Whether a token was taken, how many are left, and in how many microseconds the bucket is full or has one."""

    policy: Policy
    taken: bool
    left: int
    to_full: int
    wait: int

    @property
    def headers(self) -> dict[str, str]:
        """The draft's two headers (draft-ietf-httpapi-ratelimit-headers-11)."""
        name, reset = f'"{self.policy.what}"', _seconds(self.to_full if self.taken else self.wait)
        return {
            "RateLimit-Policy": f"{name};q={self.policy.burst};w={_seconds(self.policy.window)}",
            "RateLimit": f"{name};r={self.left};t={reset}",
        }

    def refusal(self) -> ResourceExhausted:
        """The error for a client whose bucket is empty."""
        wait, headers = _seconds(self.wait), self.headers
        return ResourceExhausted(
            f"Too many {self.policy.what} came from your address in a short time. Nothing was done. Wait {wait} s, and "
            f"send at most {self.policy.per_minute} a minute.",
            "RATE_LIMITED",
            metadata={POLICY_KEY: headers["RateLimit-Policy"], STATE_KEY: headers["RateLimit"]},
            retry_after=wait,
        )


class Buckets(Protocol):
    """The buckets of all clients."""

    async def take(self, policy: Policy, client: str) -> Verdict:
        """Take a token of a client, if it has one. Never raises."""


class LocalBuckets:
    """The buckets of this process alone."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, most: int = MAX_BUCKETS) -> None:
        self._monotonic, self._most = monotonic, most
        self._full: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def take(self, policy: Policy, client: str) -> Verdict:
        """Take a token of a client, counted in this process."""
        now, key = int(self._monotonic() * MICROSECONDS), (policy.what, client)
        full = max(self._full.pop(key, now), now)
        taken = full + policy.step <= now + policy.window
        self._full[key] = full = full + policy.step if taken else full
        if len(self._full) > self._most:
            self._full.popitem(last=False)
        return policy.verdict(full - now, taken=taken)


class RedisBuckets:
    """The buckets that the replicas share; while Redis is away, those of this process."""

    def __init__(self, redis: Redis, local: LocalBuckets, budget: float = BUDGET_SECONDS) -> None:
        self._local, self._budget = local, budget
        self._take = redis.register_script(TAKE)
        self._away_until = 0.0

    async def take(self, policy: Policy, client: str) -> Verdict:
        """Take a token of a client, counted in Redis."""
        if time.monotonic() < self._away_until:
            return await self._local.take(policy, client)
        try:
            async with asyncio.timeout(self._budget):
                taken, to_full = await self._take([f"{PREFIX}{policy.what}:{client}"], [policy.step, policy.window])
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + RETRY_SECONDS
            logger.warning("rate_limits_local", cause=type(error).__name__)
            return await self._local.take(policy, client)
        return policy.verdict(int(to_full), taken=bool(taken))


@dataclass(frozen=True)
class RateLimits:
    """The policies by the name of what they bound, and the buckets; without policies nothing is bounded."""

    policies: Mapping[str, Policy]
    buckets: Buckets

    @classmethod
    def of(cls, bounds: Mapping[str, tuple[int, int]], buckets: Buckets) -> "RateLimits":
        """The limits of these tokens a minute and sizes of buckets, by the plural of what takes the tokens."""
        return cls({what: Policy(what, *bound) for what, bound in bounds.items()}, buckets)

    async def take(self, name: str, client: str) -> Verdict | None:
        """Take a token; None where nothing is bounded.

        Raises:
            ResourceExhausted: the bucket of the client is empty (reason RATE_LIMITED).
        """
        if (policy := self.policies.get(name)) is None:
            return None
        verdict = await self.buckets.take(policy, client)
        if not verdict.taken:
            raise verdict.refusal()
        return verdict


def _seconds(microseconds: int) -> int:
    """Microseconds as whole seconds, at least one."""
    return max(1, math.ceil(microseconds / MICROSECONDS))


@asynccontextmanager
async def open_buckets(redis_url: str, budget: float = BUDGET_SECONDS) -> AsyncIterator[Buckets]:
    """The buckets at a Redis URL, or this process's own when the URL is empty."""
    if not redis_url:
        yield LocalBuckets()
        return
    redis = Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0))
    try:
        yield RedisBuckets(redis, LocalBuckets(), budget)
    finally:
        await redis.aclose()


def _quota_headers(limit: int, remaining: int, reset_seconds: float) -> dict[str, str]:
    """The draft's two headers, and the three older ones, whose reset is a Unix time."""
    reset = max(1, math.ceil(reset_seconds))
    return {
        "RateLimit-Policy": f"{DAY};q={limit};w={WINDOW_SECONDS}",
        "RateLimit": f"{DAY};r={remaining};t={reset}",
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(time.time()) + reset),
    }


def of_order(placed: Placed) -> dict[str, str]:
    """The quota's headers for an order that was counted; none for any other."""
    if not placed.HasField("quota"):
        return {}
    quota = placed.quota
    return _quota_headers(quota.limit, quota.remaining, quota.reset_delay.ToMilliseconds() / 1000)


def of_refusal(error: KawaiiError) -> dict[str, str]:
    """The headers for an error that says that a quota or a bucket is used up; none for any other error."""
    if policy := error.metadata.get(POLICY_KEY):
        return {"RateLimit-Policy": policy, "RateLimit": error.metadata.get(STATE_KEY, "")}
    limit = error.metadata.get(LIMIT, "")
    return _quota_headers(int(limit), 0, error.retry_after or 0) if limit.isdecimal() else {}


def limited(name: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint, bounded by the bucket of this name of each client address."""

    async def bounded(request: Request) -> Response:
        limits = cast("RateLimits", request.app.state.rate_limits)
        verdict = await limits.take(name, client_of_scope(request.scope))
        request.state.bucket_headers = verdict.headers if verdict else {}
        return add_bucket(request, await endpoint(request))

    return bounded


def add_bucket(request: Request, response: Response) -> Response:
    """The response with the state of the bucket from which the request took a token; as it is when it took none."""
    for header, value in getattr(request.state, "bucket_headers", {}).items():
        day = response.headers.get(header)  # an order may have its daily quota there: both are one list
        response.headers[header] = f"{day}, {value}" if day else value
    return response


async def quota_subjects(request: Request) -> list[str]:
    """The subjects for which the daily quotas count an order: the address, and a digest of the user who is signed in.

    Only the address when there is no user, or while the sign-in service cannot be asked.
    """
    person = None
    with suppress(Unauthenticated, PermissionDenied, Unavailable):
        person = await of(request).person(request)
    if person is None or person.id == DEVELOPER.id:  # the developer is everybody on this machine
        return [client_of_scope(request.scope)]
    return [client_of_scope(request.scope), person_subject(person.id)]


def person_subject(person_id: str) -> str:
    """The subject of a user: a digest, so that it is short and does not tell the id."""
    return f"person {sha256(person_id.encode()).hexdigest()}"
