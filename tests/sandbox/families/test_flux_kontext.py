"""The Flux Kontext family on the wire."""

import io
import json
from datetime import datetime
from typing import Any

import pytest
from PIL import Image

from tests.sandbox.support import Customer, Receiver
from tests.support.polling import until

Json = dict[str, Any]


def create(customer: Customer, **body: object) -> Json:
    reply: Json = customer.post("/api/v1/flux/kontext/generate", {"callBackUrl": customer.callback, **body}).json()
    return reply


def finished(customer: Customer, task_id: str) -> Json:
    def seen() -> Json | None:
        data: Json = customer.get("/api/v1/flux/kontext/record-info", taskId=task_id).json()["data"]
        return data if data["successFlag"] else None

    found: Json = until(seen)
    return found


def test_a_task_succeeds_in_record_and_callback(customer: Customer, receiver: Receiver, path: str) -> None:
    created = create(customer, prompt="a golden cat")
    task_id = created["data"]["taskId"]
    done = finished(customer, task_id)
    urls = done["response"]

    assert created == {"code": 200, "msg": "success", "data": {"taskId": task_id}}
    assert done == {
        "taskId": task_id,
        "paramJson": json.dumps({"callBackUrl": customer.callback, "prompt": "a golden cat"}),
        "completeTime": done["completeTime"],
        "response": {"originImageUrl": urls["originImageUrl"], "resultImageUrl": urls["resultImageUrl"]},
        "successFlag": 1,
        "errorCode": None,
        "errorMessage": "",
        "createTime": done["createTime"],
    }
    assert datetime.fromisoformat(done["createTime"]) < datetime.fromisoformat(done["completeTime"])
    assert receiver.first(path) == {
        "code": 200,
        "msg": "BFL image generated successfully.",
        "data": {"taskId": task_id, "info": urls},
    }
    reply = customer.http.get(urls["resultImageUrl"])
    assert reply.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(reply.content)) as image:
        assert (image.format, image.size) == ("JPEG", (96, 54))


@pytest.mark.parametrize(
    ("word", "code", "callback_code"), [("fail", 501, 501), ("policy", 400, 400), ("fail3", None, 500)]
)
def test_a_failed_callback_has_empty_strings(
    customer: Customer, receiver: Receiver, path: str, word: str, code: int | None, callback_code: int
) -> None:
    task_id = create(customer, prompt=f"sim:{word}")["data"]["taskId"]
    done, callback = finished(customer, task_id), receiver.first(path)

    assert (done["successFlag"], done["errorCode"], done["response"]) == (3, code, None)
    assert callback == {
        "code": callback_code,
        "msg": done["errorMessage"],
        "data": {"taskId": task_id, "info": {"originImageUrl": "", "resultImageUrl": ""}},
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 422),
        ({"prompt": "x" * 3001}, 422),
        ({"prompt": "a cat", "aspectRatio": "5:1"}, 422),
        ({"prompt": "a cat", "outputFormat": "gif"}, 422),
        ({"prompt": "a cat", "model": "flux-kontext-tiny"}, 422),
        ({"prompt": "a cat", "model": ["flux-kontext-pro"]}, 422),
        ({"prompt": "a cat", "safetyTolerance": 7}, 500),
        ({"prompt": "a cat", "safetyTolerance": 3, "inputImage": "https://a.example/1.png"}, 500),
    ],
)
def test_a_wrong_body_is_refused(customer: Customer, body: dict[str, object], code: int) -> None:
    assert create(customer, **body)["code"] == code


def test_max_costs_more_than_pro(customer: Customer) -> None:
    create(customer, prompt="a cheap cat", model="flux-kontext-pro")
    create(customer, prompt="a dear cat", model="flux-kontext-max")

    assert customer.ledger("a dear cat")[0]["credits"] > customer.ledger("a cheap cat")[0]["credits"]
