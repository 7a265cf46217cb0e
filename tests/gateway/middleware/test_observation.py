"""One id for a request, its answer and the calls it causes."""

import httpx
import pytest
import structlog


async def test_a_safe_id_comes_back_and_marks_every_log_line(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        response = await client.get("/api/share/latest", headers={"X-Request-Id": "abc-1"})

    assert response.headers["x-request-id"] == "abc-1"
    assert {(line["event"], line["request_id"]) for line in lines} == {("rpc", "abc-1"), ("http", "abc-1")}


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
async def test_an_unsafe_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/healthz", headers={"X-Request-Id": given})

    assert response.headers["x-request-id"].startswith("req_")


async def test_the_log_names_the_route_and_never_a_callbacks_token(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as lines:
        await client.post("/api/callback/flux-kontext/tok_secret", content=b"{}")

    [line] = [line for line in lines if line["event"] == "http"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/callback/flux-kontext/{token}", 200)
    assert "tok_secret" not in str(lines)
