"""Prometheus sees routes, never paths, and a bounded number of them."""

import httpx
import pytest
from prometheus_client import REGISTRY


def counted(route: str, method: str, status: int) -> float:
    labels = {"route": route, "method": method, "status": str(status)}
    return REGISTRY.get_sample_value("http_requests_total", labels) or 0


def measured(route: str, method: str) -> float:
    return REGISTRY.get_sample_value("http_request_seconds_count", {"route": route, "method": method}) or 0


@pytest.mark.parametrize(
    ("method", "path", "route", "counted_as", "status"),
    [
        ("GET", "/api/share/latest", "/api/share/latest", "GET", 200),
        ("GET", "/api/share/share_secret", "/api/share/{id}", "GET", 404),
        ("POST", "/api/callback/flux-kontext/tok_secret", "/api/callback/flux-kontext/{token}", "POST", 200),
        ("PUT", "/api/generate-image", "/api/generate-image", "PUT", 405),
        ("OPTIONS", "/api/anything", "none", "OPTIONS", 200),
        ("GET", "/api/nowhere/secret", "none", "GET", 404),
        ("FROBNICATE", "/api/nowhere", "none", "OTHER", 404),
    ],
)
async def test_a_request_is_counted_and_measured_by_its_route(
    client: httpx.AsyncClient, method: str, path: str, route: str, counted_as: str, status: int
) -> None:
    before = counted(route, counted_as, status), measured(route, counted_as)
    response = await client.request(method, path)

    assert response.status_code == status
    assert (counted(route, counted_as, status), measured(route, counted_as)) == (before[0] + 1, before[1] + 1)


async def test_no_label_holds_what_a_caller_made_up(client: httpx.AsyncClient) -> None:
    for path in ("/api/share/share_secret", "/api/callback/flux-kontext/tok_secret", "/share/share_secret", "/secret"):
        await client.get(path)
    labels = {value for metric in REGISTRY.collect() for sample in metric.samples for value in sample.labels.values()}

    assert not [value for value in labels if "secret" in value]
