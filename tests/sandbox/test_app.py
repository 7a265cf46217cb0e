"""The request log, and errors that no route answers."""

import pytest

from tests.sandbox.support import Customer

pytestmark = pytest.mark.usefixtures("restored")


def test_refusals_have_true_http_statuses_when_switched_on(customer: Customer) -> None:
    customer.post("/sandbox/switches", {"http_mode": "status"})
    reply = customer.create_4o("sim:402")

    assert (reply.status_code, reply.json()["code"]) == (402, 402)


def test_the_request_log_shows_codes_and_statuses(customer: Customer) -> None:
    customer.create_4o("sim:550")
    (entry,) = customer.get("/sandbox/requests", path="/api/v1/gpt4o-image/generate", limit="1").json()["requests"]

    assert (entry["method"], entry["code"], entry["status"]) == ("POST", 550, 200)


def test_an_unknown_path_is_answered_in_kies_envelope(customer: Customer) -> None:
    reply = customer.get("/api/v1/credit")

    assert (reply.status_code, reply.json()["code"]) == (404, 404)
