"""Scripted failures of create, record and credit, as a client sees them."""

from collections.abc import Callable

import httpx
import pytest

from tests.sandbox.support import Customer, Receiver
from tests.support.polling import until


def test_every_business_refusal_comes_in_the_body_and_bills_nothing(customer: Customer) -> None:
    for code in (401, 402, 422, 429, 433, 451, 455, 500, 501, 505, 550):
        reply = customer.create_4o(f"sim:{code}")

        assert (reply.status_code, reply.json()["code"], reply.json()["data"]) == (200, code, None)
        assert customer.ledger(f"sim:{code}") == []


@pytest.mark.parametrize(
    ("word", "message"), [("500required", "prompt is required"), ("500paused", "temporarily paused")]
)
def test_two_500s_differ_by_their_sentence(customer: Customer, word: str, message: str) -> None:
    reply = customer.create_4o(f"sim:{word}").json()

    assert reply["code"] == 500
    assert message in reply["msg"]


@pytest.mark.parametrize(
    ("word", "status", "text"),
    [
        ("429http", 429, "frequency"),
        ("http500", 500, "Internal Server Error"),
        ("html502", 502, "<!DOCTYPE html>"),
        ("html524", 524, "<!DOCTYPE html>"),
        ("1010", 403, "error code: 1010"),
    ],
)
def test_a_page_has_its_own_status_and_bills_nothing(customer: Customer, word: str, status: int, text: str) -> None:
    reply = customer.create_4o(f"sim:{word}")

    assert reply.status_code == status
    assert text in reply.text
    assert customer.ledger(f"sim:{word}") == []


def test_429http_says_when_to_try_again(customer: Customer) -> None:
    assert customer.create_4o("sim:429http").headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("word", "is_so"),
    [
        ("badjson", lambda reply: reply.text.startswith('{"code": 200') and not reply.text.endswith("}")),
        ("noid", lambda reply: reply.json() == {"code": 200, "msg": "success", "data": {}}),
        ("emptyreply", lambda reply: reply.content == b""),
        ("html524,billed", lambda reply: reply.status_code == 524),
    ],
)
def test_a_mangled_reply_hides_a_task_that_was_billed(
    customer: Customer, receiver: Receiver, path: str, word: str, is_so: Callable[[httpx.Response], bool]
) -> None:
    reply = customer.create_4o(f"sim:{word}")

    assert is_so(reply)
    (entry,) = customer.ledger(f"sim:{word}")
    assert receiver.first(path)["data"]["taskId"] == entry["task_id"]
    assert entry["fault"] == word


def test_reset_before_resets_the_connection_without_a_task(customer: Customer) -> None:
    with pytest.raises(httpx.ReadError):
        customer.create_4o("sim:reset-before")

    assert customer.ledger("sim:reset-before") == []


def test_reset_after_resets_the_connection_with_a_bill_and_a_callback(
    customer: Customer, receiver: Receiver, path: str
) -> None:
    with pytest.raises(httpx.ReadError):
        customer.create_4o("sim:reset-after")

    (entry,) = customer.ledger("sim:reset-after")
    assert receiver.first(path)["data"]["taskId"] == entry["task_id"]


@pytest.mark.parametrize(("word", "billed"), [("hang-after:2", 1), ("hang-before:2", 0)])
def test_a_client_that_does_not_wait_may_have_been_billed(customer: Customer, word: str, billed: int) -> None:
    body = {"prompt": f"sim:{word}", "size": "1:1"}
    with pytest.raises(httpx.ReadTimeout):
        customer.http.post("/api/v1/gpt4o-image/generate", json=body, timeout=0.3)

    assert len(customer.ledger(f"sim:{word}")) == billed


def test_a_client_that_waits_out_a_hang_gets_its_answer(customer: Customer) -> None:
    assert customer.create_4o("sim:hang-after:0.1").json()["code"] == 200
    assert customer.create_4o("sim:hang-before:0.1,402").json()["code"] == 402


def test_then_leads_to_the_next_step(customer: Customer) -> None:
    codes = [customer.create_4o("a cat sim:429 then 455 then ok").json()["code"] for _ in range(4)]

    assert codes == [429, 455, 200, 200]
    assert len(customer.ledger("a cat sim:429 then 455 then ok")) == 2


def test_a_misspelt_step_is_refused_with_its_word(customer: Customer) -> None:
    reply = customer.create_4o("sim:sleepy").json()

    assert (reply["code"], reply["msg"]) == (422, "sandbox: there is no step 'sleepy'")


def test_a_foreign_key_is_a_401_in_the_body(customer: Customer) -> None:
    headers = {"authorization": "Bearer sk-live"}
    reply = customer.http.post("/api/v1/gpt4o-image/generate", json={}, headers=headers)

    assert (reply.status_code, reply.json()["code"]) == (200, 401)


def test_a_slow_task_is_slow(customer: Customer) -> None:
    task_id = customer.task_4o("sim:ok,slow:900")

    assert customer.get(f"/sandbox/tasks/{task_id}").json()["complete_ms"] == (
        customer.ledger("sim:ok,slow:900")[0]["create_ms"] + 900_000
    )


def test_a_read_may_be_refused_for_a_while(customer: Customer) -> None:
    task_id = customer.task_4o("sim:read-429http:2")
    path = "/api/v1/gpt4o-image/record-info"

    assert [customer.get(path, taskId=task_id).status_code for _ in range(3)] == [429, 429, 200]


@pytest.mark.parametrize(
    ("word", "status"), [("edge408", 408), ("edge500", 500), ("edge501", 501), ("html408", 408), ("html501", 501)]
)
def test_a_proxy_may_answer_a_read_in_the_providers_place(customer: Customer, word: str, status: int) -> None:
    task_id = customer.task_4o(f"sim:read-{word}:1")
    reply = customer.get("/api/v1/gpt4o-image/record-info", taskId=task_id)

    assert reply.status_code == status
    assert '"code"' not in reply.text
    assert customer.record_4o(task_id)["code"] == 200


def test_the_callback_of_a_task_that_was_answered_with_another_id_names_its_own(
    customer: Customer, receiver: Receiver, path: str
) -> None:
    named = customer.create_4o("sim:reply-unknown-id").json()["data"]["taskId"]
    (entry,) = customer.ledger("sim:reply-unknown-id")

    assert receiver.first(path)["data"]["taskId"] == entry["task_id"]
    assert named != entry["task_id"]


def test_success_without_a_url_becomes_whole(customer: Customer) -> None:
    task_id = customer.task_4o("sim:ok,success-no-url:0.5")
    first = customer.finished_4o(task_id)["response"]["resultUrls"]

    assert first == []
    assert until(lambda: customer.record_4o(task_id)["data"]["response"]["resultUrls"])


def test_credits_go_down_with_each_task(customer: Customer) -> None:
    before = customer.get("/api/v1/chat/credit").json()
    customer.create_4o("a dear cat")

    assert before == {"code": 200, "msg": "success", "data": 1000.0}
    assert customer.get("/api/v1/chat/credit").json()["data"] == 994.0


@pytest.mark.parametrize("script", ["402", "402,billed"])
def test_the_balance_agrees_with_a_scripted_402_until_credits_come(customer: Customer, script: str) -> None:
    refused = customer.create_4o(f"a cat on credit sim:{script}").json()["code"]
    shown = customer.get("/api/v1/chat/credit").json()["data"]
    again = customer.create_4o("another cat on credit").json()["code"]
    account = customer.http.headers["authorization"].removeprefix("Bearer sandbox-")
    customer.post(f"/sandbox/accounts/{account}", {"credits": 1000})

    assert (refused, shown, again) == (402, 5.99, 402)
    assert customer.get("/api/v1/chat/credit").json()["data"] == 1000.0
    assert customer.create_4o("a paid cat").json()["code"] == 200
