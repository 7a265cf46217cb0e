"""The Market's unified jobs on the wire."""

import json
from typing import Any

import pytest

from services.sandbox.families.market_jobs import MODELS
from tests.sandbox.support import Customer, Receiver
from tests.support.polling import until

Json = dict[str, Any]


def create(customer: Customer, model: str, given: Json, path: str = "jobs") -> Json:
    body = {"model": model, "callBackUrl": customer.callback, "input": given}
    reply: Json = customer.post(f"/api/v1/{path}/createTask", body).json()
    return reply


def finished(customer: Customer, task_id: str, path: str = "jobs") -> Json:
    def seen() -> Json | None:
        data: Json = customer.get(f"/api/v1/{path}/recordInfo", taskId=task_id).json()["data"]
        return data if data["state"] in {"success", "fail"} else None

    found: Json = until(seen)
    return found


def test_a_task_succeeds_in_record_and_callback(customer: Customer, receiver: Receiver, path: str) -> None:
    created = create(customer, "google/nano-banana", {"prompt": "a golden cat", "aspect_ratio": "16:9"})
    task_id = created["data"]["taskId"]
    done, callback = finished(customer, task_id), receiver.first(path)
    (url,) = json.loads(done["resultJson"])["resultUrls"]

    assert created == {"code": 200, "msg": "success", "data": {"taskId": task_id}}
    assert done == {
        "taskId": task_id,
        "model": "google/nano-banana",
        "state": "success",
        "param": done["param"],
        "resultJson": json.dumps({"resultUrls": [url]}),
        "failCode": None,
        "failMsg": None,
        "costTime": 200,
        "completeTime": done["createTime"] + 200,
        "createTime": done["createTime"],
        "updateTime": done["completeTime"],
        "creditsConsumed": 4.0,
    }
    assert callback == {"code": 200, "msg": "Playground task completed successfully.", "data": done}
    assert customer.http.get(url).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("word", "code", "message"),
    [("fail", "500", "internal error, please try again later."), ("policy", "400", "nsfw")],
)
def test_a_failed_callback_has_code_501(
    customer: Customer, receiver: Receiver, path: str, word: str, code: str, message: str
) -> None:
    task_id = create(customer, "z-image", {"prompt": f"sim:{word}", "aspect_ratio": "1:1"})["data"]["taskId"]
    done, callback = finished(customer, task_id), receiver.first(path)

    assert (done["state"], done["failCode"], done["failMsg"], done["resultJson"]) == ("fail", code, message, "")
    assert (callback["code"], callback["msg"]) == (501, "Playground task failed.")
    assert (callback["data"]["state"], callback["data"]["failMsg"], callback["data"]["resultJson"]) == (
        "fail",
        message,
        None,
    )
    assert callback["data"]["creditsConsumed"] == 0


def test_the_playground_paths_still_answer(customer: Customer) -> None:
    task_id = create(customer, "google/nano-banana", {"prompt": "an old cat"}, "playground")["data"]["taskId"]

    assert finished(customer, task_id, "playground")["state"] == "success"


@pytest.mark.parametrize("model", list(MODELS))
def test_the_probe_with_an_empty_input_names_a_required_field(customer: Customer, model: str) -> None:
    reply = create(customer, model, {})

    assert (reply["code"], reply["msg"]) == (500, "prompt is required")


def test_an_unknown_model_is_a_422(customer: Customer) -> None:
    reply = create(customer, "google/nano-banana-pro", {"prompt": "a cat"})

    assert reply["code"] == 422
    assert reply["msg"].startswith("The model name you specified is not supported")


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("google/nano-banana-edit", {"prompt": "a cat"}, "image_urls is required"),
        ("flux-2/pro-text-to-image", {"prompt": "a cat", "aspect_ratio": "1:1"}, "resolution is required"),
        ("z-image", {"prompt": "x" * 1001, "aspect_ratio": "1:1"}, "text length"),
        ("google/nano-banana", {"prompt": "a cat", "aspect_ratio": "7:1"}, "aspect_ratio"),
        ("google/nano-banana", {"prompt": "a cat", "output_format": "gif"}, "output_format"),
    ],
)
def test_a_wrong_input_is_a_500_with_a_sentence(
    customer: Customer, model: str, given: dict[str, object], message: str
) -> None:
    reply = create(customer, model, given)

    assert reply["code"] == 500
    assert message in reply["msg"]


def test_a_missing_task_id_is_a_400(customer: Customer) -> None:
    reply = customer.get("/api/v1/jobs/recordInfo").json()

    assert (reply["code"], reply["msg"]) == (400, "taskId parameter is required")


def test_states_pass_from_waiting_to_generating(customer: Customer) -> None:
    task_id = create(customer, "google/nano-banana", {"prompt": "sim:slow:1000"})["data"]["taskId"]
    first = customer.get("/api/v1/jobs/recordInfo", taskId=task_id).json()["data"]["state"]

    assert first == "waiting"


def test_the_record_routes_of_other_families_do_not_show_the_task(customer: Customer) -> None:
    task_id = create(customer, "google/nano-banana", {"prompt": "a hidden cat"})["data"]["taskId"]

    assert customer.record_4o(task_id)["msg"] == "recordInfo is null"
