"""Operators see how far a process's clock is from the database's, in a metric and in health."""

import time

import pytest
from grpc_health.v1 import health_pb2
from prometheus_client import REGISTRY

from services.chassis.clock_skew import CLOCK, ClockSkew, ClockSkewError
from services.chassis.database import open_database
from services.chassis.health import Health
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE

TEN_MINUTES = 600.0
Serving = health_pb2.HealthCheckResponse


async def status(health: Health, part: str) -> "Serving.ServingStatus.ValueType":
    found = await health.servicer.Check(health_pb2.HealthCheckRequest(service=part), None)  # type: ignore[arg-type]
    return found.status


@pytest.mark.parametrize("jump", [TEN_MINUTES, -TEN_MINUTES])
async def test_a_clock_that_jumped_is_degraded_and_says_how_far(migrated: CommonSettings, jump: float) -> None:
    async with open_database(migrated, SERVICE) as database:
        skew = ClockSkew(database, lambda: time.time() + jump)
        health = Health([], [database.ping], {CLOCK: skew.ping})
        await health.check()
        with pytest.raises(ClockSkewError) as caught:
            await skew.ping()
        shown = REGISTRY.get_sample_value("kawaii_clock_skew_seconds")

        assert await status(health, "") is Serving.SERVING
        assert await status(health, CLOCK) is Serving.NOT_SERVING
        assert f"{-jump:+.0f}"[:3] in str(caught.value)
        assert shown
        assert round(shown / 100) == -jump / 100


async def test_clocks_that_agree_are_well(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        health = Health([], [database.ping], {CLOCK: ClockSkew(database).ping})
        await health.check()

        assert await status(health, CLOCK) is Serving.SERVING
