"""The control routes."""

import pytest

from tests.sandbox.support import Customer, Receiver

pytestmark = pytest.mark.usefixtures("restored")


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


def test_a_script_applies_to_so_many_matching_creates(customer: Customer) -> None:
    body = {"match": {"prompt_contains": "unlucky", "family": "gpt4o_image"}, "steps": ["455", "550"], "times": 3}
    assert customer.post("/sandbox/script", body).status_code == 200

    assert customer.create_4o("a lucky one").json()["code"] == 200
    codes = [customer.create_4o("an unlucky cat").json()["code"] for _ in range(4)]
    assert codes == [455, 550, 550, 200]


def test_scripts_can_be_deleted(customer: Customer) -> None:
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


def test_names_and_times_of_a_reply_can_be_switched(customer: Customer) -> None:
    switches = {"casing": "snake", "times": "string", "resultJson": "object"}
    assert customer.post("/sandbox/switches", switches).json()["result_json"] == "object"
    record = customer.finished_4o(customer.task_4o("a switched cat"))

    assert list(record["response"]) == ["result_urls"]
    assert record["createTime"][4] == "-"


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


def test_reset_deletes_everything(customer: Customer) -> None:
    customer.create_4o("a forgotten cat")
    customer.post("/sandbox/reset", {})

    assert customer.ledger("a forgotten cat") == []


def test_a_task_without_callback_can_be_made_to_call_back(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("a late cat sim:ok,nocallback")
    customer.finished_4o(task_id)

    customer.post(f"/sandbox/tasks/{task_id}/callback", {}).raise_for_status()

    assert receiver.first(path)["data"]["taskId"] == task_id
    assert customer.post("/sandbox/tasks/nobody/callback", {}).status_code == 404
