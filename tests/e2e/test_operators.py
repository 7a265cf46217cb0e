"""What an operator can see and do of the real stack, from a shell and from Prometheus."""

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from deploy.launcher.settings import SANDBOX_KEY
from services.chassis.addresses import ListenPort
from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e


def kawaii(stack: Stack, *words: str) -> str:
    """What the command says; it must succeed."""
    environment = os.environ | {"INTERNAL_PORT_BASE": str(stack.base)}
    command = (sys.executable, "-m", "deploy.cli.main", *words)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kawaii_json(stack: Stack, *words: str) -> Any:
    return json.loads(kawaii(stack, *words, "-o", "json"))


def failed(stack: Stack, prompt: str) -> str:
    """A generation that the provider failed."""
    task = stack.order(prompt)
    until(lambda: stack.record(task)["status"] == "GENERATE_FAILED" or None)
    return task


def sample(stack: Stack, listener: ListenPort, start: str) -> float:
    """The value of the first sample that begins so, on a process's metrics port; 0 when there is none."""
    text = httpx.get(f"http://127.0.0.1:{stack.base + listener}/metrics").raise_for_status().text
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(start)), 0.0)


def test_a_failed_generation_is_found_explained_and_retried_to_a_picture(stack: Stack) -> None:
    prompt = "a shy hedgehog sim:fail then ok"
    task = failed(stack, prompt)
    listed = kawaii_json(stack, "tasks", "list", "--state", "failed")["generations"]
    story = kawaii(stack, "tasks", "explain", task)
    kawaii(stack, "tasks", "retry", task)
    news = [json.loads(line) for line in kawaii(stack, "tasks", "watch", task, "-o", "json").splitlines()]

    assert f"generations/{task}" in [row["name"] for row in listed]
    assert "PROVIDER_FAILED" in story
    assert prompt not in story
    assert news[-1]["state"] == "STATE_SUCCEEDED"
    assert httpx.get(news[-1]["outputs"][0]["uri"]).headers["content-type"] == "image/png"
    assert "state:     SUCCEEDED" in kawaii(stack, "tasks", "get", task)


def test_keys_are_listed_by_print_and_never_by_value(stack: Stack) -> None:
    shown = kawaii(stack, "keys", "list") + kawaii(stack, "keys", "list", "-o", "json")
    (key,) = kawaii_json(stack, "keys", "list")["providerKeys"]

    assert key["state"] == "STATE_ACTIVE"
    assert SANDBOX_KEY not in shown


def test_a_disabled_key_takes_no_order_until_it_is_enabled(stack: Stack) -> None:
    (key,) = kawaii_json(stack, "keys", "list")["providerKeys"]
    try:
        kawaii(stack, "keys", "disable", key["name"])
        shown = sample(stack, ListenPort.GENERATION_METRICS, 'kawaii_provider_keys{state="disabled"}')
    finally:
        kawaii(stack, "keys", "enable", key["name"])

    assert shown == 1
    assert stack.picture(stack.order("a cat after the pause"))


def test_every_process_shows_its_metrics(stack: Stack) -> None:
    finished = 'kawaii_generations_finished_total{reason="",state="SUCCEEDED"}'
    before = sample(stack, ListenPort.GENERATION_METRICS, finished)
    stack.picture(stack.order("a counted cat"))
    until(lambda: sample(stack, ListenPort.GENERATION_METRICS, finished) == before + 1 or None)
    imports = 'grpc_server_handled_total{grpc_code="OK",grpc_method="ImportObject"'
    orders = 'http_requests_total{method="POST",route="/api/generate-image",status="200"}'

    assert sample(stack, ListenPort.STORAGE_METRICS, imports) >= 1
    assert sample(stack, ListenPort.GATEWAY_METRICS, orders) >= 1
    assert sample(stack, ListenPort.SHARE_METRICS, "process_resident_memory_bytes") > 0


def test_metrics_are_not_on_the_public_port(stack: Stack) -> None:
    assert stack.http.get("/metrics").status_code == httpx.codes.NOT_FOUND
