"""The tester's doors."""

from collections.abc import Iterator

import pytest

from tests.sandbox.support import Customer, Receiver


@pytest.fixture(autouse=True)
def _as_it_was(customer: Customer) -> Iterator[None]:
    yield
    native = {"http_mode": "body", "casing": "camel", "times": "native", "resultJson": "text", "files": "up"}
    customer.post("/sandbox/switches", native)
    customer.http.delete("/sandbox/script")


def test_the_ledger_holds_one_entry_for_each_billed_task(customer: Customer) -> None:
    task_id = customer.task_4o("a billed cat")
    customer.create_4o("a billed cat sim:402")
    reply = customer.get("/sandbox/ledger", prompt="a billed cat").json()
    (entry,) = reply["entries"]

    assert set(entry) == {
        "task_id", "account", "family", "model", "callback_url", "prompt_digest", "prompt", "credits", "state",
        "create_ms", "request_number", "fault",
    }  # fmt: skip
    assert (entry["task_id"], entry["family"], entry["credits"]) == (task_id, "gpt4o_image", 6.0)
    assert reply["totals"] == {"entries": 1, "credits": 6.0}
    assert customer.get("/sandbox/ledger", task_id=task_id).json() == reply


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


def test_a_script_meets_matching_creates_so_many_times(customer: Customer) -> None:
    body = {"match": {"prompt_contains": "unlucky", "family": "gpt4o_image"}, "steps": ["455", "550"], "times": 3}
    assert customer.post("/sandbox/script", body).status_code == 200

    assert customer.create_4o("a lucky one").json()["code"] == 200
    codes = [customer.create_4o("an unlucky cat").json()["code"] for _ in range(4)]
    assert codes == [455, 550, 550, 200]


def test_a_script_can_be_taken_back(customer: Customer) -> None:
    customer.post("/sandbox/script", {"steps": ["455"], "times": 100})
    customer.http.delete("/sandbox/script")

    assert customer.create_4o("a free cat").json()["code"] == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sandbox/script", {"steps": []}),
        ("/sandbox/script", {"steps": ["455"], "macth": {}}),
        ("/sandbox/switches", {"casing": "kebab"}),
        ("/sandbox/clock", {"advance_seconds": -1}),
        ("/sandbox/accounts/shop", {"state": "gone"}),
    ],
)
def test_a_wrong_control_body_is_a_400_with_a_sentence(customer: Customer, path: str, body: dict[str, object]) -> None:
    reply = customer.post(path, body)

    assert reply.status_code == 400
    assert reply.json()["error"]


def test_statuses_can_be_true(customer: Customer) -> None:
    customer.post("/sandbox/switches", {"http_mode": "status"})
    reply = customer.create_4o("sim:402")

    assert (reply.status_code, reply.json()["code"]) == (402, 402)


def test_words_of_a_reply_can_be_switched(customer: Customer) -> None:
    switches = {"casing": "snake", "times": "string", "resultJson": "object"}
    assert customer.post("/sandbox/switches", switches).json()["result_json"] == "object"
    record = customer.finished_4o(customer.task_4o("a switched cat"))

    assert list(record["response"]) == ["result_urls"]
    assert record["createTime"][4] == "-"


def test_the_request_log_shows_codes_and_statuses(customer: Customer) -> None:
    customer.create_4o("sim:550")
    (entry,) = customer.get("/sandbox/requests", path="/api/v1/gpt4o-image/generate", limit="1").json()["requests"]

    assert (entry["method"], entry["code"], entry["status"]) == ("POST", 550, 200)


def test_an_account_can_be_emptied_and_locked(customer: Customer) -> None:
    customer.create_4o("a first cat")
    account = customer.ledger("a first cat")[0]["account"]
    changed = customer.post(f"/sandbox/accounts/{account}", {"credits": 1.5}).json()

    assert changed["balance"] == 1.5
    assert customer.create_4o("a poor cat").json()["code"] == 402
    customer.post(f"/sandbox/accounts/{account}", {"state": "revoked"})
    assert customer.create_4o("a locked out cat").json()["code"] == 401


def test_the_clock_brings_a_slow_task_to_its_end(customer: Customer) -> None:
    task_id = customer.task_4o("sim:ok,slow:500")
    customer.post("/sandbox/clock", {"advance_seconds": 500})

    assert customer.finished_4o(task_id)["successFlag"] == 1


def test_an_unknown_task_is_a_404(customer: Customer) -> None:
    assert customer.get("/sandbox/tasks/nobody").status_code == 404


def test_an_unknown_path_is_told_in_kies_envelope(customer: Customer) -> None:
    reply = customer.get("/api/v1/credit")

    assert (reply.status_code, reply.json()["code"]) == (404, 404)


def test_reset_forgets_everything(customer: Customer) -> None:
    customer.create_4o("a forgotten cat")
    customer.post("/sandbox/reset", {})

    assert customer.ledger("a forgotten cat") == []


def test_a_silent_task_can_be_told_to_call_back_after_all(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("a late cat sim:ok,nocallback")
    customer.finished_4o(task_id)

    customer.post(f"/sandbox/tasks/{task_id}/callback", {}).raise_for_status()

    assert receiver.first(path)["data"]["taskId"] == task_id
    assert customer.post("/sandbox/tasks/nobody/callback", {}).status_code == 404
